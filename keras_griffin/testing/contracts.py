"""The laws of temporal layers, as checks for any layer.

    from keras_griffin.testing import contracts

    @pytest.mark.parametrize("law", contracts.LAWS)
    def test_my_mixer(law):
        law(contracts.Subject(functools.partial(MyMixer, num_heads=2), width=8))

A law is a function of a `Subject`; it raises AssertionError if the layer violates it.
"""

import functools
import inspect
import random
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from keras_griffin import backends
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from keras_griffin.testing.compiled import compiled
from keras_griffin.testing.gradients import value_and_gradient

# Pieces have few different lengths, since each is compiled separately on JAX.
LENGTH = 11
BATCH = 3
#: What stands in steps that a layer must ignore: zero times their sums or squares is not a number.
POISONS = np.array([np.nan, np.inf, 3e38], "float32")
NO_MARKS: dict[str, np.ndarray] = {}


@dataclass(frozen=True)
class Subject:
    """A layer to test.

    Args:
        make: returns a new layer; keyword arguments such as `dtype` are passed to it.
        width: the width of its inputs.
        float32_states: names of the state's leaves that stay float32 under a half-precision policy.
        poison: the value of inputs that the layer must ignore. Dense attention multiplies masked values by zero, and
            zero times NaN is NaN; use a large number for it.
    """

    make: Callable[..., keras.layers.Layer]
    width: int
    float32_states: tuple[str, ...] = ()
    poison: float = np.nan

    def layer(self, **kwargs):
        """A built layer with the same weights each time, including biases."""
        random.seed(7)  # Keras draws the seeds of initialisers from it
        layer = self.make(**kwargs)
        layer.build((None, None, self.width))
        generator = np.random.default_rng(8)
        for weight in layer.weights:
            weight.assign(as_array(weight) + 0.3 * generator.normal(size=weight.shape))
        return layer

    def inputs(self, length: int = LENGTH, seed: int = 9) -> np.ndarray:
        """Normal inputs `(B, T, D)`."""
        return np.random.default_rng(seed).normal(size=(BATCH, length, self.width)).astype("float32")

    def spoiled(self, inputs: np.ndarray, where: np.ndarray, turn: int = 0) -> np.ndarray:
        """The inputs with values to ignore at steps `(B, T)`: another in each row, and at each turn."""
        values = np.resize(POISONS if np.isnan(self.poison) else np.float32(self.poison), len(inputs))
        return np.where(where[:, :, None], np.roll(values, turn)[:, None, None], inputs)


@functools.lru_cache(maxsize=1)
def _compiled(subject: Subject):
    """A layer, and its compiled `call` and `advance`, shared by the laws so that each shape is compiled once."""
    layer = subject.layer()
    return layer, compiled(layer), compiled(layer.advance)


def call_equals_advance(subject: Subject):
    """Law 1: `call` on the whole sequence equals `advance` from the initial state.

    No tensor is in that state twice: a compiled step overwrites each.
    """
    (layer, call, advance), inputs = _compiled(subject), subject.inputs()
    leaves = keras.tree.flatten(layer.initial_state(BATCH))
    if len({id(leaf) for leaf in leaves}) < len(leaves):
        raise AssertionError("call_equals_advance: no tensor may be in the initial state twice. Got one that is.")
    for marks in (NO_MARKS, _marks(LENGTH)):
        outputs, _ = advance(inputs, layer.initial_state(BATCH), **marks)
        assert_close(_real(call(inputs, **marks), marks), _real(outputs, marks))


def cuts_change_nothing(subject: Subject):
    """Law 2: cutting the sequence anywhere gives the same outputs and the same final state.

    A piece may have no steps, and a batch no rows.
    """
    (layer, _, advance), inputs = _compiled(subject), subject.inputs()
    for marks in (NO_MARKS, _marks(LENGTH)):
        expected, expected_state = advance(inputs, layer.initial_state(BATCH), **marks)
        for cuts in ((0, 5, 5, 10), tuple(range(1, LENGTH))):
            outputs, state = _advance_in_pieces(advance, layer.initial_state(BATCH), inputs, cuts, marks)
            assert_close(_real(outputs, marks), _real(expected, marks))
            _assert_states_close(state, expected_state)
    no_rows = {name: mark[:0] for name, mark in marks.items()}
    outputs, state = advance(inputs[:0], layer.initial_state(0), **no_rows)
    if tuple(outputs.shape) != (0, *expected.shape[1:]):
        raise AssertionError(f"cuts_change_nothing: no rows must give no rows of outputs. Got {tuple(outputs.shape)}.")
    _assert_states_close(state, _rows_of(expected_state, np.zeros(0, int)))


def never_looks_ahead(subject: Subject):
    """Law 3: outputs never depend on later inputs, even if those are NaN."""
    (_, call, _), inputs = _compiled(subject), subject.inputs()
    expected = as_array(call(inputs))
    for cut in (1, 5, LENGTH - 1):
        poisoned = inputs.copy()
        poisoned[:, cut:] = subject.poison
        assert_close(call(poisoned)[:, :cut], expected[:, :cut])


def reset_forgets(subject: Subject):
    """Law 4: after a reset, outputs and state do not depend on the past, even if that is NaN."""
    (layer, _, advance), inputs = _compiled(subject), subject.inputs()
    other = np.full_like(inputs, subject.poison)
    for start in (5, LENGTH - 1):
        reset = np.zeros((BATCH, LENGTH), bool)
        reset[:, start] = True
        outputs, state = advance(inputs, layer.initial_state(BATCH), reset=reset)
        mixed = np.concatenate([other[:, :start], inputs[:, start:]], axis=1)
        outputs_after_other, state_after_other = advance(mixed, layer.initial_state(BATCH), reset=reset)
        assert_close(outputs_after_other[:, start:], as_array(outputs)[:, start:])
        _, state_of_other = advance(other[:, :start], layer.initial_state(BATCH))
        goes_on, _ = advance(inputs[:, start:], state_of_other, reset=reset[:, start:])
        assert_close(goes_on, as_array(outputs)[:, start:])
        fresh, fresh_state = advance(inputs[:, start:], layer.initial_state(BATCH), reset=reset[:, start:])
        assert_close(fresh, as_array(outputs)[:, start:])
        if state_size(state) == state_size(fresh_state):
            _assert_states_close(state, state_after_other)
            _assert_states_close(state, fresh_state)


# Only NumPy says where numbers overflow.
@np.errstate(over="ignore", invalid="ignore")
def documents_stay_apart(subject: Subject):
    """Law 5: however resets and masked steps meet, no number of a document depends on another, even if that is NaN.

    Nor does a gradient, where the backend has them, and none depends on masked steps.
    """
    (layer, call, advance), inputs = _compiled(subject), subject.inputs()
    reset, partly = _marks(LENGTH).values()
    # The second row has no real step.
    partly_or_none = partly & (np.arange(BATCH) != 1)[:, None]
    for mask in (np.ones_like(partly), partly, partly_or_none):
        marks = {"reset": reset, "mask": mask}
        expected, (outputs, state) = call(inputs, **marks), advance(inputs, layer.initial_state(BATCH), **marks)
        for turn in range(BATCH):
            ignored, clean = _alternate_documents(reset, mask, turn)
            mixed = subject.spoiled(inputs, ignored, turn)
            found, found_state = advance(mixed, layer.initial_state(BATCH), **marks)
            for actual, wanted in ((call(mixed, **marks), expected), (found, outputs)):
                assert_close(_only(clean, actual), _only(clean, wanted), "float32")
            ends_clean = np.flatnonzero(clean[:, -1])
            _assert_states_close(_rows_of(found_state, ends_clean), _rows_of(state, ends_clean))
    if backends.has_gradients():
        _gradients_stay_apart(subject, reset, partly)


def _gradients_stay_apart(subject, reset, mask):
    """The gradients of clean documents, and of all documents with values to ignore at masked steps."""
    layer, inputs = subject.layer(), subject.inputs()
    variables = layer.trainable_variables
    weights = [as_array(weight) for weight in variables]
    target = np.random.default_rng(11).normal(size=(BATCH, LENGTH, 1)).astype("float32")
    turns = [_alternate_documents(reset, mask, turn) for turn in range(BATCH)]
    documents = np.concatenate([subject.spoiled(inputs, ignored, turn) for turn, (ignored, _) in enumerate(turns)])
    clean = np.concatenate([clean for _, clean in turns])

    def loss_of(sequences, seen):
        times = len(seen) // BATCH
        outputs = layer(sequences, reset=np.tile(reset, (times, 1)), mask=np.tile(mask, (times, 1)))
        factors = np.tile(target, (times, 1, 1))
        return ops.sum(ops.where(seen[:, :, None], outputs, 0.0) * ops.convert_to_tensor(factors))

    def loss(documents, whole, padded, *weights):
        total = loss_of(documents, clean)
        for sequences, given in ((whole, weights[: len(variables)]), (padded, weights[len(variables) :])):
            with keras.StatelessScope(state_mapping=list(zip(variables, given, strict=True))):
                total = total + loss_of(sequences, mask)
        return total

    arguments = (documents, inputs, subject.spoiled(inputs, ~mask), *weights, *weights)
    _, (into_documents, whole, padded, *into_weights) = value_and_gradient(loss, *arguments)
    assert_close(padded, whole)
    for (_, clean_steps), gradient in zip(turns, np.split(into_documents, BATCH), strict=True):
        assert_close(_only(clean_steps, gradient), _only(clean_steps, whole))
    for actual, expected in zip(into_weights[len(weights) :], into_weights[: len(weights)], strict=True):
        assert_close(actual, expected)


def masked_steps_change_nothing(subject: Subject):
    """Law 6: masked steps, whatever their values, change neither outputs nor state."""
    (layer, _, advance), inputs = _compiled(subject), subject.inputs()
    expected, expected_state = advance(inputs, layer.initial_state(BATCH))
    for places in ((0, 0, 0), (4, 4, 7), (LENGTH, LENGTH, LENGTH), (0, 3, LENGTH)):
        padded = np.insert(inputs, places, np.nan, axis=1)
        mask = np.insert(np.ones((BATCH, LENGTH), bool), places, False, axis=1)
        outputs, state = advance(padded, layer.initial_state(BATCH), mask=mask)
        real = np.flatnonzero(mask[0])
        assert_close(as_array(outputs)[:, real], as_array(expected))
        if state_size(state) == state_size(expected_state):
            _assert_states_close(state, expected_state)
    first = layer.initial_state(BATCH)
    _, state = advance(np.full_like(inputs, np.nan), first, mask=np.zeros((BATCH, LENGTH), bool))
    if state_size(state) == state_size(first):
        _assert_states_close(state, first)


def state_does_not_grow(subject: Subject):
    """Law 7: the size of the state is the same after any number of steps."""
    layer, _, advance = _compiled(subject)
    first = layer.initial_state(BATCH)
    _, state = advance(subject.inputs(), first)
    if state_size(state) != state_size(first):
        raise AssertionError(f"state_does_not_grow: sizes must be equal. Got {state_size(first)}, {state_size(state)}.")


def dtypes_survive_mixed_precision(subject: Subject):
    """Law 8: under `mixed_bfloat16` outputs are bfloat16, state dtypes survive, recurrent states are float32.

    Recurrent states also lose no precision where the sequence is cut: a state rounded in between is float32 in name
    only.
    """
    layer, inputs = subject.layer(dtype="mixed_bfloat16"), subject.inputs()
    first = layer.initial_state(BATCH)
    advance = compiled(layer.advance)
    outputs, state = advance(inputs, first)
    assert_close(outputs, as_array(_compiled(subject)[1](inputs)), "bfloat16", factor=3)  # weights are rounded too
    if _dtype(compiled(layer)(inputs)) != "bfloat16" or _dtype(outputs) != "bfloat16":
        raise AssertionError(f"dtypes_survive: outputs must be bfloat16. Got {_dtype(outputs)}.")
    before, after = ([(p, _dtype(x)) for p, x in _named_leaves(s)] for s in (first, state))
    if before != after:
        raise AssertionError(f"dtypes_survive: state dtypes must be equal. Got {before} and {after}.")
    for name, dtype in after:
        if name in subject.float32_states and dtype != "float32":
            raise AssertionError(f"dtypes_survive: {name} must be float32. Got {dtype}.")
    _, state_of_pieces = _advance_in_pieces(advance, first, inputs, (5, 10), NO_MARKS)
    for (name, whole), (_, cut) in zip(_named_leaves(state), _named_leaves(state_of_pieces), strict=True):
        if name in subject.float32_states:
            # XLA may leave out a rounding to bfloat16 between two operations, by shape; that of a state is larger.
            assert_close(cut, as_array(whole), factor=30)


def gradients_survive_cuts(subject: Subject):
    """Law 9: gradients for inputs and weights are the same for the whole sequence and for its pieces."""
    layer, inputs = subject.layer(), subject.inputs()
    weights = [as_array(weight) for weight in layer.trainable_variables]
    target = np.random.default_rng(11).normal(size=inputs.shape).astype("float32")

    def in_pieces(inputs):
        return _advance_in_pieces(layer.advance, layer.initial_state(BATCH), inputs, (5, 10), NO_MARKS)[0]

    def loss_and_gradients(outputs_of):
        def loss(inputs, *weights):
            with keras.StatelessScope(state_mapping=list(zip(layer.trainable_variables, weights, strict=True))):
                return ops.sum(outputs_of(inputs) * ops.convert_to_tensor(target))

        return value_and_gradient(loss, inputs, *weights)

    (whole, whole_gradients), (cut, cut_gradients) = loss_and_gradients(layer), loss_and_gradients(in_pieces)
    assert_close(cut, whole)
    for actual, expected in zip(cut_gradients, whole_gradients, strict=True):
        assert_close(actual, expected)


def config_rebuilds_the_layer(subject: Subject):
    """Law 10: the config rebuilds the same layer, and contains every constructor argument."""
    (layer, call, _), inputs = _compiled(subject), subject.inputs()
    config = keras.saving.serialize_keras_object(layer)
    rebuilt = keras.saving.deserialize_keras_object(config)
    rebuilt.set_weights(layer.get_weights())
    assert_close(compiled(rebuilt)(inputs), as_array(call(inputs)))
    if rebuilt.get_config() != layer.get_config():
        raise AssertionError(f"config_rebuilds: configs must be equal. Got {rebuilt.get_config()}.")
    arguments = inspect.signature(type(layer).__init__).parameters.values()
    names = {a.name for a in arguments if a.kind in (a.POSITIONAL_OR_KEYWORD, a.KEYWORD_ONLY)} - {"self"}
    missing = sorted(names - set(layer.get_config()))
    if missing:
        raise AssertionError(f"config_rebuilds: the config must contain every argument. Got none of {missing}.")


LAWS = (
    call_equals_advance,
    cuts_change_nothing,
    never_looks_ahead,
    reset_forgets,
    documents_stay_apart,
    masked_steps_change_nothing,
    state_does_not_grow,
    dtypes_survive_mixed_precision,
    gradients_survive_cuts,
    config_rebuilds_the_layer,
)


def state_size(state) -> int:
    """The number of elements in a state."""
    return sum(int(np.prod(leaf.shape)) for leaf in keras.tree.flatten(state))


def _marks(length) -> dict[str, np.ndarray]:
    """A reset and a mask `(B, T)`, by name, with mixed patterns, one row without padding and one beginning with it."""
    generator = np.random.default_rng(12)
    reset = generator.random((BATCH, length)) < 0.25
    mask = generator.random((BATCH, length)) < 0.7
    mask[0] = True
    mask[1, :3] = False
    return {"reset": reset, "mask": mask}


def _alternate_documents(reset, mask, turn):
    """Every second document, and the masked steps, of each row `(B, T)`, and the steps of the others."""
    documents = np.cumsum(reset & mask, axis=1) + np.arange(len(mask))[:, None]
    is_chosen = documents % 2 == turn % 2
    return is_chosen | ~mask, ~is_chosen & mask


def _rows_of(state, rows):
    return keras.tree.map_structure(lambda leaf: ops.take(leaf, rows, axis=0), state)


def _real(outputs, marks):
    """Outputs `(B, T, D)`, times zero at masked steps: they must be finite there too."""
    return as_array(outputs) * marks["mask"][:, :, None] if marks else as_array(outputs)


def _only(steps, outputs):
    """Outputs `(B, T, D)`, and zeros at the other steps."""
    return np.where(steps[:, :, None], as_array(outputs), 0.0)


def _advance_in_pieces(advance, state, inputs, cuts, marks):
    """`advance` over the pieces between the cuts."""
    outputs = []
    for start, stop in zip((0, *cuts), (*cuts, LENGTH), strict=True):
        of_piece = {name: mark[:, start:stop] for name, mark in marks.items()}
        piece, state = advance(inputs[:, start:stop], state, **of_piece)
        outputs.append(piece)
    return ops.concatenate(outputs, axis=1), state


def _assert_states_close(actual, expected):
    for (name, one), (other_name, other) in zip(_named_leaves(actual), _named_leaves(expected), strict=True):
        if name != other_name or _dtype(one) != _dtype(other):
            raise AssertionError(f"states must have the same leaves. Got {name} and {other_name}.")
        assert_close(ops.cast(one, "float32"), as_array(other))


def _named_leaves(state, prefix=""):
    """The leaves of nested NamedTuples with their dotted names."""
    if not isinstance(state, tuple):
        return [(prefix, state)]
    names = getattr(state, "_fields", range(len(state)))
    leaves = [_named_leaves(field, f"{prefix}.{name}".lstrip(".")) for name, field in zip(names, state, strict=True)]
    return [leaf for group in leaves for leaf in group]


def _dtype(tensor) -> str:
    return keras.backend.standardize_dtype(tensor.dtype)
