"""A state as a value: rows chosen, repeated and joined, and what it says of itself."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.generation import concatenate, generate
from keras_griffin.generation.state import MOST_TOKENS, fitted, why_not_like
from keras_griffin.models import Griffin
from keras_griffin.testing.arrays import as_array

ROWS = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 1, 2]]


@pytest.fixture(scope="module")
def state(griffin):
    return griffin.prefill(ROWS)


def leaves(state):
    return [as_array(leaf) for leaf in keras.tree.flatten(state)]


def assert_same(state, other):
    for ours, theirs in zip(leaves(state), leaves(other), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("rows", "indices"),
    [([2, 0], [2, 0]), ([1, 1], [1, 1]), (slice(1, None), [1, 2]), ([True, False, True], [0, 2]), (-1, [2])],
)
def test_rows_are_selected_as_those_of_a_vector(griffin, state, rows, indices):
    chosen = state.select(rows)
    assert chosen.num_rows == len(indices)
    for ours, theirs in zip(leaves(chosen), leaves(state), strict=True):
        np.testing.assert_array_equal(ours, theirs[indices])
    together = generate(griffin, [[]] * 3, 4, state=state)
    for row, index in zip(generate(griffin, [[]] * len(indices), 4, state=chosen), indices, strict=True):
        np.testing.assert_array_equal(row, together[index])


def test_rows_are_repeated_next_to_each_other_and_states_joined(state):
    assert_same(state.repeat(2), state.select([0, 0, 1, 1, 2, 2]))
    assert_same(concatenate([state.select([2]), state.select([0, 1])]), state.select([2, 0, 1]))
    assert_same(concatenate(iter([state])), state)


def test_a_state_says_what_it_is(state):
    assert state.num_bytes == sum(leaf.nbytes for leaf in leaves(state))
    assert repr(state) == f"LanguageModelState: 3 rows, 2 layers, {state.num_bytes:,} bytes; tokens seen: 3, 1, 7"
    assert repr(state.repeat(4)).endswith("tokens seen: 3, 3, 3, 3, 1, 1, 1, ... 7")


def test_nothing_changes_a_state(griffin, state):
    before = [leaf.copy() for leaf in leaves(state)]
    fork = state
    generate(griffin, [[3]] * 3, 5, state=fork)
    griffin.prefill([[3, 4]] * 3, state=fork)
    list(griffin.stream([[3]] * 3, 3, state=fork))
    griffin.advance(np.array([[1]] * 3), fork)
    with pytest.raises(AttributeError):
        state.last = 0
    for now, then in zip(leaves(state), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_the_count_of_tokens_stops_where_int32_ends(griffin, state):
    full = state._replace(tokens=ops.full((3,), MOST_TOKENS - 2, "int32"))
    for tokens, _ in ((1, 0), (5, 0)):
        _, full = griffin.advance(np.ones((3, tokens), "int32"), full)
    np.testing.assert_array_equal(as_array(full.tokens), MOST_TOKENS)


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda s: s.select([3]), "select: rows must be among the 3 of the state. Got [3]."),
        (lambda s: s.repeat(0), "repeat: times must be an integer of at least 1. Got 0."),
        (lambda s: s.select(None), "select: rows must be an index of a vector. Got None."),
        (lambda s: concatenate([]), "concatenate: there must be at least one state. Got none."),
        (lambda s: concatenate([5]), "concatenate: every element must be a state. Got 5."),
    ],
)
def test_what_can_not_be_done_is_said_in_one_sentence(state, change, sentence):
    with pytest.raises(ValueError) as error:
        change(state)
    assert str(error.value) == sentence


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"num_layers": 4}, r"\d+ tensors do not match the \d+ of this model's LanguageModelState"),
        ({"window": 5}, r"blocks\.1\.keys has shape \(3, 5, 1, 16\) instead of \(3, 4, 1, 16\)"),
        ({"recurrence_width": 48}, r"blocks\.0\.conv\.inputs has shape \(3, 3, 48\) instead of \(3, 3, 32\)"),
    ],
)
def test_the_state_of_another_model_is_refused_with_the_reason(griffin, changes, reason):
    config = griffin.config.replace(**{"recurrence_width": 32, **changes})
    own = Griffin(griffin.config.replace(recurrence_width=32)).initial_state(1)
    other = Griffin(config).initial_state(3)
    with pytest.raises(ValueError, match=f"^generate: the state must be one of this model. Got one whose {reason}"):
        fitted("generate", other, own)
    with pytest.raises(ValueError, match="^concatenate: the states must be of one model. Got one whose "):
        concatenate([own, other])


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("token_ids", "sentence"),
    [
        (np.zeros((3, 0), "int32"), "token ids must be of shape (B, T), with T at least 1. Got shape (3, 0)."),
        (np.zeros(3, "int32"), "token ids must have shape (B, T). Got (3,)."),
        (None, "token ids must be of shape (B, T), with T at least 1. Got shape ()."),
        (
            ops.ones((2, 1), "int32"),
            "the state must have one row for each row of the tokens. Got a state of 3 and tokens of 2.",
        ),
    ],
)
def test_advance_speaks_in_its_own_name(griffin, state, token_ids, sentence):
    with pytest.raises(ValueError) as error:
        griffin.advance(token_ids, state)
    assert str(error.value) == f"advance: {sentence}"


def test_rows_of_different_numbers_are_refused(state):
    torn = state._replace(last=state.last[:2])
    assert why_not_like(torn, state) == "tensors have different numbers of rows, 2, 3"
