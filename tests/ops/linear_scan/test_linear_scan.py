"""The contract of `linear_scan`: what it takes, what it means, and what it says when it can't."""

import re

import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.ops import linear_scan
from keras_griffin.ops.linear_scan import SCAN
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close

B, T, D = 2, 6, 3
GENERATOR = np.random.default_rng(0)
DECAY = GENERATOR.uniform(0.5, 0.9, (B, T, D)).astype("float32")
INPUTS, START = (GENERATOR.normal(size=shape).astype("float32") for shape in ((B, T, D), (B, D)))
MASK = GENERATOR.random((B, T)) < 0.7


def test_numpy_arrays_give_tensors_of_the_backend():
    states, final_state = linear_scan(DECAY, INPUTS, START)
    assert keras.ops.is_tensor(states) and keras.ops.is_tensor(final_state)
    assert_close(final_state, as_array(states)[:, -1])
    first = DECAY[:, 0] * START + INPUTS[:, 0]
    assert_close(states[:, 0], first)
    assert_close(states[:, 1], DECAY[:, 1] * first + INPUTS[:, 1])


def test_sums_are_made_in_float32():
    """In bfloat16 the sum of ones stops at 256."""
    ones = ops.ones((1, 400, 1), "bfloat16")
    assert_close(linear_scan(ones, ones)[1], [[400.0]])


def test_unknown_sizes_stay_unknown():
    inputs, start, mark = keras.Input((None, D)), keras.Input((D,)), keras.Input((None,), dtype="bool")
    states, final_state = linear_scan((inputs, inputs), (inputs, inputs), (start, start), reset=mark, mask=mark)
    assert [x.shape for x in (*states, *final_state)] == [(None, None, D)] * 2 + [(None, D)] * 2


def test_a_functional_model_survives_its_config():
    inputs, start = keras.Input((None, D)), keras.Input((D,))
    mark = keras.Input((None,), dtype="bool")
    states, final_state = linear_scan(inputs, inputs, start, mask=mark, reverse=True)
    model = keras.Model([inputs, start, mark], [states, final_state])
    rebuilt = keras.Model.from_config(model.get_config())
    assert any(isinstance(operation, SCAN.node) and operation.options["reverse"] for operation in rebuilt.operations)
    values = [INPUTS, START, MASK]
    for actual, expected in zip(
        rebuilt(values), linear_scan(INPUTS, INPUTS, START, mask=MASK, reverse=True), strict=True
    ):
        assert_close(actual, as_array(expected))


PAIR = (DECAY, DECAY)
MIXED = "decay, inputs and initial_state must be all tensors or all pairs (real, imaginary). Got "
STEPS = "must be boolean, one value for each step, shape (2, 6). Got dtype"
WRONG = [
    ((PAIR, INPUTS), {}, f"{MIXED}decay of 2, inputs of 1."),
    ((PAIR, PAIR, START), {}, f"{MIXED}decay of 2, inputs of 2, initial_state of 1."),
    (((DECAY,) * 3, (DECAY,) * 3), {}, f"{MIXED}decay of 3, inputs of 3."),
    (((DECAY, DECAY.astype("int32")), PAIR), {}, "decay must have a real floating dtype. Got int32."),
    ((DECAY, INPUTS, START.astype("bool")), {}, "initial_state must have a real floating dtype. Got bool."),
    ((PAIR, (INPUTS, INPUTS[:, :, :1])), {}, "inputs must have shape (2, 6, 3) for inputs (2, 6, 3). Got (2, 6, 1)."),
    ((DECAY, INPUTS), {"reset": MASK[:, 1:]}, f"reset {STEPS} bool and shape (2, 5)."),
    ((DECAY, INPUTS), {"mask": MASK.astype("int32")}, f"mask {STEPS} int32 and shape (2, 6)."),
]


@pytest.mark.parametrize(("arguments", "options", "sentence"), WRONG, ids=[sentence for *_, sentence in WRONG])
def test_a_wrong_argument_gets_one_sentence(arguments, options, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(f'linear_scan: {sentence}')}$"):
        linear_scan(*arguments, **options)


def test_a_wrong_symbolic_argument_gets_the_same_sentence():
    with pytest.raises(ValueError, match=re.escape("for inputs (None, None, 4). Got (None, None, 3).")):
        linear_scan(keras.Input((None, 3)), keras.Input((None, 4)))
