"""What recurrences do while a model reads, against the model itself and the equations."""

import functools

import numpy as np
import pytest

from keras_griffin.layers import CGLRU, RGLRU
from keras_griffin.models import Griffin
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from keras_griffin.testing.compiled import compiled
from keras_griffin.tokenizers import ByteTokenizer
from tests.models.tiny import TINY

CONFIG = TINY.replace(vocabulary_size=256, num_gate_blocks=2)
TOKENS = np.random.default_rng(0).integers(256, size=12)
PATH = "block_0/mixer/rg_lru"


@functools.cache
def model():
    return Griffin(CONFIG, tokenizer=ByteTokenizer())


def test_states_are_those_with_which_the_model_goes_on():
    trace = model().trace(TOKENS)
    assert list(trace.layers) == [PATH]
    _, state = compiled(model().advance)(TOKENS[None], model().initial_state(1))
    hidden, layer = as_array(state.blocks[0].unit.hidden)[0], trace.layers[PATH]
    assert_close(layer.values["state"][-1], hidden)
    assert_close(layer.state_norm[-1], np.sqrt(np.mean(hidden.astype("float64") ** 2)))
    assert layer.state_norm.shape == (12,)


def test_the_first_token_forgets_and_half_lives_are_of_those_after_it():
    layer = model().trace(TOKENS).layers[PATH]
    log_decay = layer.values["log_decay"].astype("float64")
    assert np.all(log_decay[0] == -np.inf) and np.all(log_decay[1:] < 0)
    np.testing.assert_allclose(0.5, np.exp(log_decay[1:].mean(axis=0) * layer.half_lives), rtol=1e-12)
    assert np.isnan(model().trace(TOKENS[:1]).layers[PATH].half_lives).all()


def test_a_text_is_read_as_its_ids_and_channels_are_chosen():
    trace = model().trace("def f(x, y):", channels=3)
    np.testing.assert_array_equal(trace.token_ids, np.frombuffer(b"def f(x, y):", "uint8"))
    layer = trace.layers[PATH]
    assert layer.channels.tolist() == [0, round((CONFIG.recurrence_width - 1) / 2), CONFIG.recurrence_width - 1]
    all_channels = model().trace(trace.token_ids).layers[PATH]
    for name, value in model().trace(trace.token_ids, channels=[5, 2]).layers[PATH].values.items():
        assert_close(value[1:], all_channels.values[name][1:, [5, 2]])
    np.testing.assert_array_equal(all_channels.channels, np.arange(CONFIG.recurrence_width))


@pytest.mark.parametrize("kind", [RGLRU, CGLRU])
def test_a_unit_traces_its_equations(kind):
    unit = kind(num_gate_blocks=2, return_sequences=True)
    inputs = np.random.default_rng(1).normal(size=(1, 7, 8)).astype("float32")
    outputs = unit(inputs)
    traced = {name: as_array(value) for name, value in unit.trace_of(inputs, outputs).items()}
    gates = []
    for gate in (unit.recurrence_gate, unit.input_gate):
        kernel, bias = (as_array(weight).astype("float64") for weight in gate.weights)
        blocks = np.einsum("btni,nio->btno", inputs.reshape(1, 7, 2, 4), kernel) + bias[:, 0]
        gates.append(1 / (1 + np.exp(-blocks.reshape(1, 7, -1))))
    assert_close(traced["recurrence_gate"], gates[0])
    assert_close(traced["input_gate"], gates[1])
    log_decay = -8.0 * gates[0] * np.log1p(np.exp(-as_array(unit.decay_parameter).astype("float64")))
    assert_close(traced["log_decay"], log_decay)
    if kind is CGLRU:
        outputs = np.hypot(*np.split(as_array(outputs).astype("float64"), 2, axis=-1))
    assert_close(traced["state"], as_array(outputs))


@pytest.mark.parametrize(
    ("arguments", "options", "sentence"),
    [
        (([],), {}, "trace: there must be one text of at least one token. Got 1 rows."),
        ((np.zeros((2, 3), "int32"),), {}, "trace: there must be one text of at least one token. Got 2 rows."),
        (([256],), {}, "trace: the ids of the prompt must be at least 0 and below the vocabulary's size 256. Got 256."),
        ((TOKENS,), {"channels": [-1]}, "trace: channels must be None, a number of channels or .* Got \\[-1\\]."),
        ((TOKENS,), {"channels": [99]}, "trace: channels must be below the .* Got 99."),
        ((TOKENS,), {"chunk": 0}, "trace: chunk must be an integer of at least 1. Got 0."),
    ],
)
@pytest.mark.any_backend
def test_what_is_refused(arguments, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        model().trace(*arguments, **options)
