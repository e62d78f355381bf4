"""The contract of `rg_lru`: what it takes, what it means, and what it says when it can't."""

import re

import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.ops import bounded_sqrt, explain, linear_scan, rg_lru
from keras_griffin.ops.rg_lru import SCAN
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from keras_griffin.testing.gradients import value_and_gradient

B, T, D = 2, 6, 3
GENERATOR = np.random.default_rng(0)
INPUTS, INPUT_GATE, RECURRENCE_GATE = (GENERATOR.normal(size=(B, T, D)).astype("float32") for _ in range(3))
START = GENERATOR.normal(size=(B, D)).astype("float32")
DECAY, PHASE = np.array([1.0, 3.0, 6.0], "float32"), np.array([0.1, 0.0, -0.2], "float32")
UNIT = (INPUTS, INPUT_GATE, RECURRENCE_GATE, DECAY)
PAIR = (INPUTS, 2 * INPUTS)


def flags(*true_steps):
    flag = np.zeros((B, T), bool)
    flag[:, list(true_steps)] = True
    return flag


def test_it_is_the_gates_around_a_scan():
    magnitude = ops.exp(-8.0 * ops.sigmoid(RECURRENCE_GATE) * ops.softplus(-DECAY))
    gated_inputs = bounded_sqrt(1.0 - magnitude**2) * ops.sigmoid(INPUT_GATE) * ops.convert_to_tensor(INPUTS)
    for actual, expected in zip(rg_lru(*UNIT, START), linear_scan(magnitude, gated_inputs, START), strict=True):
        assert_close(actual, as_array(expected))


def test_a_step_alone_and_no_step():
    states, state = rg_lru(*UNIT, START)
    carried = START
    for t in range(T):
        step, carried = rg_lru(*(x[:, t : t + 1] for x in UNIT[:3]), DECAY, carried)
        assert_close(step[:, 0], as_array(states)[:, t])
    assert_close(carried, as_array(state))
    states, state = rg_lru(*(x[:, :0] for x in UNIT[:3]), DECAY, START)
    assert tuple(states.shape) == (B, 0, D)
    assert_close(state, START)


def test_a_reset_lets_the_whole_input_in():
    states, _ = rg_lru(*UNIT, START, reset=flags(3))
    assert_close(as_array(states)[:, 3], INPUTS[:, 3] / (1 + np.exp(-INPUT_GATE[:, 3])))


@pytest.mark.trainable
def test_masked_steps_have_no_gradient_whatever_they_hold():
    arrays = [array.copy() for array in UNIT[:3]]
    for array in arrays:
        array[:, 2] = np.nan

    def loss(*sequences):
        states, final_state = rg_lru(*sequences, DECAY, START, mask=~flags(2))
        return ops.sum(states) + ops.sum(final_state)

    _, gradients = value_and_gradient(loss, *arrays)
    for gradient in gradients:
        assert np.all(np.isfinite(gradient)) and np.all(gradient[:, 2] == 0.0) and np.all(gradient[:, 1] != 0.0)


@pytest.mark.trainable
def test_gradients_are_bounded_where_the_decay_reaches_one():
    def loss(inputs, decay_parameter):
        states, _ = rg_lru(inputs, *UNIT[1:3], decay_parameter)
        return ops.sum(states**2)

    _, gradients = value_and_gradient(loss, INPUTS, np.full(D, 200.0, "float32"))
    assert all(np.all(np.isfinite(gradient)) for gradient in gradients)


def test_a_functional_model_survives_its_config():
    symbolic = [keras.Input((None, D)) for _ in range(3)]
    start, mark = keras.Input((D,)), keras.Input((None,), dtype="bool")
    results = rg_lru(*symbolic, DECAY, start, exponent=3.0, mask=mark, reverse=True)
    model = keras.Model([*symbolic, start, mark], list(results))
    model = keras.Model.from_config(model.get_config())
    assert any(isinstance(operation, SCAN.node) and operation.options["reverse"] for operation in model.operations)
    expected = rg_lru(*UNIT, START, exponent=3.0, mask=~flags(2), reverse=True)
    for actual, wanted in zip(model([*UNIT[:3], START, ~flags(2)]), expected, strict=True):
        assert_close(actual, as_array(wanted))


def test_numpy_in_double_precision_has_the_reference_alone():
    if keras.backend.backend() == "numpy":
        assert explain("rg_lru", dtype="float64").chosen == "reference"
    assert explain("rg_lru").chosen != "reference"


PAIRS = "inputs must be a pair (real, imaginary) with a phase, and a tensor without. Got inputs of"
STEPS = "mask must be boolean, one value for each step, shape (2, 6). Got dtype int32 and shape (2, 6)."
LIKE = "for inputs (2, 6, 3). Got"
#: Shapes of one kind each; all are judged in `recurrence/test_scan_op.py`.
WRONG = [
    ((PAIR, *UNIT[1:]), {}, f"{PAIRS} 2 and no phase."),
    (UNIT, {"phase": PHASE}, f"{PAIRS} 1 and a phase."),
    (UNIT, {"exponent": 0.0}, "exponent must be positive and finite. Got 0.0."),
    (UNIT, {"exponent": float("inf")}, "exponent must be positive and finite. Got inf."),
    ((INPUTS[0], *UNIT[1:]), {}, "inputs must have shape (B, T, D). Got (6, 3)."),
    ((INPUTS, INPUT_GATE[:, :5], *UNIT[2:]), {}, f"input_gate_logits must have shape (2, 6, 3) {LIKE} (2, 5, 3)."),
    ((*UNIT[:3], DECAY[:2]), {}, f"decay_parameter must have shape (3,) {LIKE} (2,)."),
    ((PAIR, *UNIT[1:], (START[:1], START)), {"phase": PHASE}, f"initial_state must have shape (2, 3) {LIKE} (1, 3)."),
    ((*UNIT[:3], DECAY.astype("int32")), {}, "decay_parameter must have a real floating dtype. Got int32."),
    (UNIT, {"mask": flags().astype("int32")}, STEPS),
]


@pytest.mark.parametrize(("arguments", "options", "sentence"), WRONG, ids=range(len(WRONG)))
def test_a_wrong_argument_gets_one_sentence(arguments, options, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(f'rg_lru: {sentence}')}$"):
        rg_lru(*arguments, **options)
