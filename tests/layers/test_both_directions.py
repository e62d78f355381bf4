import keras
import numpy as np
import pytest

from keras_griffin.layers.both_directions import BothDirections
from keras_griffin.mixers import RecurrentBlock
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close

INPUTS = np.random.default_rng(0).normal(size=(3, 9, 4)).astype("float32")


@pytest.fixture(scope="module")
def both():
    layer = BothDirections(RecurrentBlock(6, name="ahead"), RecurrentBlock(6, name="back"))
    layer.build((None, None, 4))
    return layer


def test_it_is_the_sum_of_both(both):
    backward = as_array(both.backward_layer(INPUTS[:, ::-1].copy()))[:, ::-1]
    assert_close(both(INPUTS), as_array(both.forward_layer(INPUTS)) + backward)


def test_a_row_with_masked_steps_anywhere_is_the_row_without_them(both):
    mask = np.ones((3, 9), bool)
    mask[0, :4], mask[1, 2:5], mask[2, 6:] = False, False, False
    poisoned = np.where(mask[..., None], INPUTS, np.nan)
    outputs = as_array(both(poisoned, mask=mask))
    for row in range(3):
        assert_close(outputs[row, mask[row]], as_array(both(INPUTS[row : row + 1, mask[row]]))[0], "float32")


def test_what_it_cannot_do(both):
    for function, arguments in (("initial_state", (2,)), ("advance", (INPUTS, None))):
        with pytest.raises(ValueError, match=f"^{function}: the layer must be causal .* Got BothDirections"):
            getattr(both, function)(*arguments)
    with pytest.raises(ValueError, match="BothDirections: reset must be None, since a reset ends only the past"):
        both(INPUTS, reset=np.zeros((3, 9), bool))


def test_it_is_saved_and_loaded(both, tmp_path):
    inputs = keras.Input((None, 4))
    model = keras.Model(inputs, both(inputs))
    model.save(tmp_path / "model.keras")
    assert_close(keras.saving.load_model(tmp_path / "model.keras")(INPUTS), as_array(both(INPUTS)))
