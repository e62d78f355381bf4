"""States by the tokens before them, within a limit of bytes."""

import numpy as np
import pytest

from keras_griffin.models import Griffin, GriffinConfig
from keras_griffin.serving.engine.kept_states import KeptStates, keys

pytestmark = pytest.mark.any_backend


def key(*token_ids):
    (found,) = keys(np.array(token_ids), [len(token_ids)])
    return found


@pytest.fixture(scope="module")
def state():
    return Griffin(GriffinConfig(8, 8, 1, num_heads=1)).initial_state(1)


def test_the_longest_prefix_is_found(state):
    kept = KeptStates(10 * state.num_bytes)
    short, long = (state.select([0]) for _ in range(2))
    kept.keep(key(1, 2), short)
    kept.keep(key(1, 2, 3, 4), long)
    kept.keep(key(9, 2, 3), state)
    for token_ids, found in [
        ((1, 2, 3, 4, 5), (4, long)),
        ((1, 2, 3, 4), (4, long)),
        ((1, 2, 3), (2, short)),
        ((1, 3, 3, 4), (0, None)),
        ((), (0, None)),
    ]:
        length, got = kept.longest(np.array(token_ids, "int32"))
        assert (length, id(got)) == (found[0], id(found[1]))


def test_the_least_recently_used_leaves_first(state):
    kept = KeptStates(2 * state.num_bytes)
    kept.keep(key(1), state)
    kept.keep(key(2), state)
    kept.longest(np.array([1]))
    kept.keep(key(3), state)
    assert [kept.longest(np.array([token]))[0] for token in (1, 2, 3)] == [1, 0, 1]
    # Kept once more, it is used.
    kept.keep(key(1), state)
    kept.keep(key(4), state)
    assert [kept.longest(np.array([token]))[0] for token in (1, 3, 4)] == [1, 0, 1]
    assert kept.num_bytes == 2 * state.num_bytes and len(kept) == 2


@pytest.mark.parametrize("most_bytes", [0, 10])
def test_a_state_that_is_too_large_is_not_kept(state, most_bytes):
    kept = KeptStates(most_bytes)
    kept.keep(key(1), state)
    assert not len(kept) and kept.longest(np.array([1])) == (0, None)


def test_other_numbers_of_tokens_are_other_keys():
    """A hash of bytes alone would take [1] and [1, 0] apart; of shorter integers not."""
    found = [*keys(np.array([1, 0, 256]), [0, 1, 2, 3])]
    assert len({digest for _, digest in found}) == 4 and [length for length, _ in found] == [0, 1, 2, 3]
