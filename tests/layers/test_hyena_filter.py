import numpy as np

from keras_griffin.layers.hyena_filter import HyenaFilter, positional_features, windows
from keras_griffin.testing.closeness import assert_close
from tests.layers.units.definitions import named


def taps(weights, length, channels, features):
    """h at every distance, from the code's definition: z = exp(-i f w)."""
    t = np.linspace(0, 1, length)[:, None]
    bands = (features - 1) // 2
    z = np.exp(-1j * np.linspace(1e-4, bands - 1, bands) * 2 * np.pi * np.arange(length)[:, None] / length)
    x = np.concatenate([t, z.real, z.imag], -1)
    for index in range(3):
        x = np.sin(weights["frequency"] * (x @ weights[f"kernel_{index}"] + weights[f"bias_{index}"]))
    rates = np.abs(np.linspace(np.log(0.01) / 1.5, np.log(0.01) / 0.3, channels))
    return x @ weights["kernel_3"] * np.exp(-t * rates)


def test_taps_and_initial_values():
    layer = HyenaFilter(64, 100, 16, 5, name="filter")
    layer.build()
    weights = named(layer)
    np.testing.assert_array_equal(weights["frequency"], 1)
    for name, fan_in in (("kernel_0", 5), ("bias_0", 5), ("kernel_1", 16), ("bias_1", 16), ("kernel_3", 16)):
        values = np.abs(weights[name])
        assert 0.6 * fan_in**-0.5 < values.max() <= fan_in**-0.5
    assert_close(layer.taps(), taps(weights, 64, 100, 5))


def test_what_is_not_trained():
    np.testing.assert_allclose(positional_features(5, 3)[:, 0], [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(positional_features(4, 5)[1], [1 / 3, 1, 0, -2e-4 * np.pi / 4, -1], atol=1e-6)
    np.testing.assert_allclose(windows(64, 9)[-1, [0, -1]], [0.01 ** (1 / 1.5), 0.01 ** (1 / 0.3)], rtol=1e-5)
