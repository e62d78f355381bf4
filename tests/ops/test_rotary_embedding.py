import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.ops.rotary_embedding import rotated, rotation
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from keras_griffin.testing.gradients import value_and_gradient

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(3, 7, 2, 8)).astype("float32")
POSITIONS = {
    "of all rows": np.arange(7),
    "of each row": GENERATOR.integers(0, 2000, size=(3, 7)),
    "far out": np.arange(7) + 2_000_000,
    "negative": np.arange(7) - 300_000,
    "backward": np.arange(-3, 4),
    "fractional": np.linspace(-1.5, 3.0, 7).astype("float32"),
}


def rotary_embedding(x, positions, fraction=0.5, base=10000.0):
    """As the attention layers rotate heads."""
    dtype = keras.backend.standardize_dtype(x.dtype)
    return rotated(x, rotation(positions, x.shape[-1], dtype, fraction=fraction, base=base))


def _turned(x, positions, fraction=0.5, base=10000.0):
    """The definition, each pair of channels as a complex number."""
    x = np.asarray(x, "float64")
    half = round(fraction * x.shape[-1]) // 2
    wavenumbers = base ** -(np.arange(half) / max(half, 1))
    angles = np.broadcast_to(positions, x.shape[:2])[..., None, None] * wavenumbers
    pairs = (x[..., :half] + 1j * x[..., half : 2 * half]) * np.exp(1j * angles)
    return np.concatenate([pairs.real, pairs.imag, x[..., 2 * half :]], axis=-1)


@pytest.mark.parametrize("positions", POSITIONS)
def test_pairs_are_turned_by_the_position(positions):
    positions = POSITIONS[positions]
    # An angle of 2,000,000 in float32 would be off by 0.1.
    factor = 40 if np.abs(positions).max() > 100 else 1
    assert_close(rotary_embedding(ops.convert_to_tensor(X), positions), _turned(X, positions), factor=factor)


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX has no int64 unless it is switched on")
def test_positions_beyond_32_bits_do_not_wrap():
    positions = np.arange(7) + 2**31 - 3
    # The last digit is 131,072, so that float32 is off by 0.02; a sign that wraps would be off by 1.
    np.testing.assert_allclose(
        as_array(rotary_embedding(ops.convert_to_tensor(X), positions)), _turned(X, positions), atol=0.1
    )


@pytest.mark.parametrize(("fraction", "base"), [(0.25, 10000.0), (1.0, 100.0), (0.0, 10000.0)])
def test_fraction_and_base(fraction, base):
    actual = rotary_embedding(ops.convert_to_tensor(X), np.arange(7), fraction=fraction, base=base)
    assert_close(actual, _turned(X, np.arange(7), fraction, base))
    count = round(8 * fraction)
    np.testing.assert_array_equal(as_array(actual)[..., count:], X[..., count:])


def test_half_precision_is_rounded_once():
    x = ops.cast(X, "bfloat16")
    actual = rotary_embedding(x, np.arange(7) + 500)
    assert keras.backend.standardize_dtype(actual.dtype) == "bfloat16"
    assert_close(actual, _turned(as_array(x), np.arange(7) + 500), "bfloat16", factor=0.5)


@pytest.mark.trainable
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_gradient_is_turned_back(dtype):
    weights = np.random.default_rng(1).normal(size=X.shape).astype("float32")
    positions = POSITIONS["of each row"] % 50

    def loss(x):
        turned = rotary_embedding(ops.cast(x, dtype), ops.convert_to_tensor(positions))
        return ops.sum(ops.cast(turned, "float32") * ops.convert_to_tensor(weights))

    _, [gradient] = value_and_gradient(loss, X)
    assert_close(gradient, _turned(weights, -positions), dtype)


def test_in_a_functional_model_of_any_length():
    heads, positions = keras.Input((None, 2, 8)), keras.Input((None,), dtype="int32")
    outputs = rotary_embedding(heads, positions)
    assert outputs.shape == (None, None, 2, 8)
    model = keras.Model([heads, positions], outputs)
    steps = POSITIONS["of each row"].astype("int32") % 50
    assert_close(model([X, steps]), _turned(X, steps))
