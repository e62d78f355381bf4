"""`check_stream`: models whose steps are, and are not, what the whole row gives."""

import keras
import pytest

from keras_griffin.export.check import check_stream
from keras_griffin.export.program import program_of
from keras_griffin.layers import RGLRU


def model(*layers):
    x = inputs = keras.Input((None, 4), name="samples")
    for layer in layers:
        x = layer(x)
    return keras.Model(inputs, x)


@pytest.mark.parametrize(("what", "chunk"), [("step", None), ("chunk", 3)])
def test_layers_of_one_step_around_a_unit_are_a_stream(what, chunk):
    both = model(keras.layers.Dense(4), RGLRU(return_sequences=True), keras.layers.LayerNormalization())
    check_stream(program_of(both, what, chunk), chunk or 1)
    check_stream(program_of(model(RGLRU()), what, chunk), chunk or 1)


@pytest.mark.parametrize(("what", "chunk"), [("step", None), ("chunk", 3)])
def test_a_layer_that_reads_other_steps_is_none(what, chunk):
    shifted = model(
        keras.layers.Lambda(lambda x: keras.ops.cumsum(x, axis=1), output_shape=lambda shape: shape),
        RGLRU(return_sequences=True),
    )
    with pytest.raises(ValueError, match=f"export: a {what} must give what the whole row gives, .*. Got other numbers"):
        check_stream(program_of(shifted, what, chunk), chunk or 1)
