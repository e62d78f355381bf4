import keras
import numpy as np
import pytest

from keras_griffin.layers import RGLRU, RGLRUCell
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close

INPUTS = np.random.default_rng(0).normal(size=(3, 7, 8)).astype("float32")


def test_in_keras_own_loop_it_is_the_layer(tmp_path):
    layer = keras.layers.RNN(RGLRUCell(8, num_gate_blocks=2, decay_range=(0.5, 0.9)), return_sequences=True)
    inputs = keras.Input((None, 8))
    model = keras.Model(inputs, layer(inputs))
    unit = RGLRU(num_gate_blocks=2, return_sequences=True)
    unit.build((None, None, 8))
    unit.set_weights(layer.get_weights())
    expected = as_array(unit(INPUTS))
    assert_close(model.predict(INPUTS, verbose=0), expected)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert_close(loaded.predict(INPUTS, verbose=0), expected)
    assert loaded.layers[-1].cell.decay_range == (0.5, 0.9)


@pytest.mark.trainable
def test_it_trains():
    model = keras.Sequential([keras.Input((7, 8)), keras.layers.RNN(RGLRUCell(8)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.05), "mse")
    losses = model.fit(INPUTS, np.ones((3, 1), "float32"), epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def test_another_width_is_refused():
    with pytest.raises(ValueError, match=r"RGLRUCell: inputs must have the width of the units, 8; put Dense\(8\)"):
        RGLRUCell(8).build((3, 5))
