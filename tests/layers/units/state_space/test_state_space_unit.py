"""What reads the states of S4D and S4."""

import numpy as np
import pytest

from keras_griffin.layers import S4, S4D
from keras_griffin.layers.units.state_space.state_space_unit import StateSpaceUnit, twice_real
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close


def test_twice_the_real_part():
    c, s = (np.random.default_rng(seed).normal(size=(3, 8)).astype("float32") for seed in (0, 1))
    expected = 2.0 * ((c[:, :4] + 1j * c[:, 4:]) * (s[:, :4] + 1j * s[:, 4:])).real.sum(-1)
    assert_close(np.sum(as_array(twice_real(c)) * s, axis=-1), expected)


@pytest.mark.parametrize("kind", [S4, S4D])
def test_readouts_at_the_start(kind):
    layer = kind(state_size=8)
    layer.build((None, None, 2000))
    assert isinstance(layer, StateSpaceUnit)
    for weight, deviation in ((layer.output_weights, 0.5**0.5), (layer.feedthrough, 1.0)):
        assert abs(as_array(weight).std() / deviation - 1.0) < 0.05
