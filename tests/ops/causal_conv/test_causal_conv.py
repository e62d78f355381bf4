import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.ops.causal_conv import causal_conv
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from keras_griffin.testing.gradients import value_and_gradient

BATCH, LENGTH, WIDTH, TAPS = 3, 65, 4, 4
FLAGS = ["neither", "reset", "mask", "both"]


def _arguments(length=LENGTH, taps=TAPS, dtype="float32"):
    """Normal inputs, kernel, bias and initial state, rounded to the dtype."""
    generator = np.random.default_rng(0)
    shapes = ((BATCH, length, WIDTH), (taps, WIDTH), (WIDTH,), (BATCH, taps - 1, WIDTH))
    arrays = [generator.normal(size=shape).astype("float32") for shape in shapes]
    return [as_array(ops.cast(array, dtype)) for array in arrays]


def _flags(which, length=LENGTH):
    """Resets, some next to each other, the first step's and a masked one's among them; and one wholly masked row."""
    generator = np.random.default_rng(1)
    reset, mask = generator.random((BATCH, length)) < 0.3, generator.random((BATCH, length)) < 0.6
    reset[0, 0], mask[0, :2], mask[1, -2:], mask[2] = True, False, False, False
    return {
        "reset": reset if which in ("reset", "both") else None,
        "mask": mask if which in ("mask", "both") else None,
    }


def _taps_of_steps(length, taps, reset, mask):
    """For each real step the indices in the history that its taps see, -1 for none; last the state, at step -1."""
    reset = np.zeros((BATCH, length), bool) if reset is None else reset
    mask = np.ones((BATCH, length), bool) if mask is None else mask
    for row in range(BATCH):
        past = list(range(taps - 1))
        for step in np.flatnonzero(mask[row]):
            past = [-1] * (taps - 1) if reset[row, step] else past
            past = [*past, taps - 1 + step]
            yield row, step, past
            past = past[1:]
        yield row, -1, past


def _expected(inputs, kernel, bias, initial_state, reset=None, mask=None):
    """The definition in float64, one step at a time."""
    history = np.concatenate([initial_state, inputs, np.zeros_like(inputs[:, :1])], axis=1).astype("float64")
    history[:, -1] = 0
    outputs, final_state = np.zeros(inputs.shape), np.zeros(initial_state.shape)
    for row, step, past in _taps_of_steps(inputs.shape[1], len(kernel), reset, mask):
        if step < 0:
            final_state[row] = history[row, past]
        else:
            outputs[row, step] = bias + np.sum(kernel * history[row, past], axis=0)
    return outputs, final_state


def _expected_gradients(weights, state_weights, inputs, kernel, bias, initial_state, reset=None, mask=None):
    """The gradients of the weighted sum of outputs and final state, in float64."""
    history = np.concatenate([initial_state, inputs, np.zeros_like(inputs[:, :1])], axis=1).astype("float64")
    d_history, d_kernel, d_bias = np.zeros(history.shape), np.zeros(kernel.shape), np.zeros(bias.shape)
    for row, step, past in _taps_of_steps(inputs.shape[1], len(kernel), reset, mask):
        if step < 0:
            np.add.at(d_history[row], past, state_weights[row])
        else:
            np.add.at(d_history[row], past, kernel * weights[row, step])
            d_kernel += history[row, past] * weights[row, step]
            d_bias += weights[row, step]
    before = len(kernel) - 1
    return d_history[:, before:-1], d_kernel, d_bias, d_history[:, :before]


def _gradients(arguments, weights, state_weights, reset, mask, dtype="float32"):
    def loss(*tensors):
        outputs, final_state = causal_conv(*(ops.cast(x, dtype) for x in tensors), reset=reset, mask=mask)
        both = ((outputs, weights), (final_state, state_weights))
        return sum(ops.sum(ops.cast(x, "float32") * ops.convert_to_tensor(w)) for x, w in both)

    return value_and_gradient(loss, *arguments)[1]


def _weights(taps=TAPS):
    generator = np.random.default_rng(2)
    shapes = ((BATCH, LENGTH, WIDTH), (BATCH, taps - 1, WIDTH))
    return [generator.normal(size=shape).astype("float32") for shape in shapes]


@pytest.mark.parametrize("flags", FLAGS)
@pytest.mark.parametrize(("length", "taps"), [(65, 4), (7, 4), (1, 4), (7, 1), (1, 40)])
def test_values(length, taps, flags):
    arguments, flags = _arguments(length, taps), _flags(flags, length)
    for actual, expected in zip(causal_conv(*arguments, **flags), _expected(*arguments, **flags), strict=True):
        assert_close(actual, expected)


@pytest.mark.parametrize("flags", ["neither", "both"])
def test_half_precision_is_rounded_once(flags):
    arguments, flags = _arguments(dtype="bfloat16"), _flags(flags)
    actual = causal_conv(*(ops.cast(x, "bfloat16") for x in arguments), **flags)
    for one, expected in zip(actual, _expected(*arguments, **flags), strict=True):
        assert keras.backend.standardize_dtype(one.dtype) == "bfloat16"
        assert_close(one, expected, factor=0.5)


def test_the_state_keeps_its_own_dtype():
    inputs, kernel, bias, initial_state = _arguments(7)
    outputs, final_state = causal_conv(ops.cast(inputs, "bfloat16"), kernel, bias, initial_state)
    assert keras.backend.standardize_dtype(outputs.dtype) == "bfloat16"
    assert keras.backend.standardize_dtype(final_state.dtype) == "float32"


def test_without_bias_and_state_there_are_zeros():
    inputs, kernel, bias, initial_state = _arguments(7)
    actual = causal_conv(inputs, kernel)
    for one, expected in zip(actual, _expected(inputs, kernel, 0 * bias, 0 * initial_state), strict=True):
        assert_close(one, expected)


@pytest.mark.parametrize("taps", [TAPS, 40])
@pytest.mark.parametrize("flags", ["neither", "both"])
def test_no_steps_leave_the_state(flags, taps):
    arguments = _arguments(0, taps)
    flags = {name: None if flags == "neither" else np.zeros((BATCH, 0), bool) for name in ("reset", "mask")}
    outputs, final_state = causal_conv(*arguments, **flags)
    assert tuple(outputs.shape) == (BATCH, 0, WIDTH)
    assert_close(final_state, arguments[3])


@pytest.mark.parametrize("shape", [(1, 1, 1), (0, 3, 4), (2, 0, 4), (2, 3, 0)])
def test_a_single_number_or_none(shape):
    marks, kernel = np.ones(shape[:2], bool), np.ones((3, shape[2]), "float32")
    for given in ({}, {"mask": marks}, {"reset": marks, "mask": marks}):
        outputs, state = causal_conv(np.ones(shape, "float32"), kernel, **given)
        assert_close(outputs, np.cumsum(np.ones(shape), axis=1) if "reset" not in given else np.ones(shape))
        assert tuple(state.shape) == (shape[0], 2, shape[2])


@pytest.mark.parametrize("flags", FLAGS)
def test_cuts_change_nothing(flags):
    (inputs, kernel, bias, state), flags = _arguments(7), _flags(flags, 7)
    expected, expected_state = _expected(inputs, kernel, bias, state, **flags)
    pieces = []
    for piece in (slice(0, 1), slice(1, 7)):
        flags_of_piece = {name: None if flag is None else flag[:, piece] for name, flag in flags.items()}
        outputs, state = causal_conv(inputs[:, piece], kernel, bias, state, **flags_of_piece)
        pieces.append(as_array(outputs))
    assert_close(np.concatenate(pieces, axis=1), expected, "float32")
    assert_close(state, expected_state)


def test_a_step_sees_no_later_step():
    """What masks and resets hide is in `test_unseen_steps.py`."""
    (inputs, *others), flags = _arguments(), _flags("both")
    expected, _ = _expected(inputs, *others, **flags)
    inputs[:, 40:] = np.nan
    assert_close(causal_conv(inputs, *others, **flags)[0][:, :40], expected[:, :40])


@pytest.mark.trainable
@pytest.mark.parametrize(
    ("flags", "dtype", "taps"),
    [
        *((flags, "float32", TAPS) for flags in FLAGS),
        *((flags, "bfloat16", TAPS) for flags in ("neither", "both")),
        *((flags, "float32", 136) for flags in ("neither", "both")),
    ],
)
def test_gradients(flags, dtype, taps):
    arguments, flags, weights = _arguments(taps=taps, dtype=dtype), _flags(flags), _weights(taps)
    actual = _gradients(arguments, *weights, **flags, dtype=dtype)
    for one, expected in zip(actual, _expected_gradients(*weights, *arguments, **flags), strict=True):
        assert_close(one, expected, dtype)


@pytest.mark.parametrize("taps", [TAPS, 24])
def test_in_a_functional_model_of_any_length(taps):
    (inputs, kernel, bias, initial_state), flags = _arguments(7, taps), _flags("both", 7)
    symbols = [keras.Input((None, WIDTH)), keras.Input((taps - 1, WIDTH))]
    symbols += [keras.Input((None,), dtype="bool"), keras.Input((None,), dtype="bool")]
    outputs, final_state = causal_conv(symbols[0], kernel, bias, symbols[1], reset=symbols[2], mask=symbols[3])
    assert outputs.shape == (None, None, WIDTH)
    assert final_state.shape == (None, taps - 1, WIDTH)
    model = keras.Model(symbols, [outputs, final_state])
    expected = _expected(inputs, kernel, bias, initial_state, **flags)
    for one, other in zip(model([inputs, initial_state, flags["reset"], flags["mask"]]), expected, strict=True):
        assert_close(one, other)


SHAPES = "inputs must have shape (B, T, D) and kernel (K, D), with K at least 1. Got inputs"
STEPS = "must be boolean, one value for each step, shape (3, 7). Got dtype float32 and shape (3, 7)."


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"inputs": (3, 4)}, f"{SHAPES} (3, 4) and kernel (4, 4)."),
        ({"kernel": (0, 4)}, f"{SHAPES} (3, 7, 4) and kernel (0, 4)."),
        ({"kernel": (4, 5)}, "kernel must have shape (4, 4) for inputs (3, 7, 4) and 4 taps. Got (4, 5)."),
        ({"bias": (5,)}, "bias must have shape (4,) for inputs (3, 7, 4) and 4 taps. Got (5,)."),
        (
            {"initial_state": (3, 4, 4)},
            "initial_state must have shape (3, 3, 4) for inputs (3, 7, 4) and 4 taps. Got (3, 4, 4).",
        ),
        ({"reset": (3, 7)}, f"reset {STEPS}"),
        ({"mask": (3, 7)}, f"mask {STEPS}"),
    ],
)
def test_arguments_that_do_not_fit(changes, sentence):
    shapes = {"inputs": (3, 7, 4), "kernel": (4, 4), **changes}
    with pytest.raises(ValueError) as error:
        causal_conv(**{name: np.zeros(shape, "float32") for name, shape in shapes.items()})
    assert str(error.value) == f"causal_conv: {sentence}"


def test_integers_are_refused():
    with pytest.raises(ValueError, match=r"causal_conv: inputs must have a real floating dtype\. Got int32\."):
        causal_conv(np.ones((1, 3, 2), "int32"), np.ones((2, 2), "float32"))
