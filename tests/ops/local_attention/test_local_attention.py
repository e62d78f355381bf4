"""The window; `tests/ops/shared/test_attention_op.py` has what the contract shares with other attention."""

import numpy as np
import pytest

from keras_griffin.ops.local_attention import local_attention, reference
from keras_griffin.testing.closeness import assert_close

BATCH, LENGTH, WINDOW = 3, 65, 7


def _arguments():
    generator = np.random.default_rng(0)
    shapes = ((BATCH, LENGTH, 4, 4), (BATCH, LENGTH, 2, 4), (BATCH, LENGTH, 2, 4))
    return [generator.normal(size=shape).astype("float32") for shape in shapes]


def _marks():
    generator = np.random.default_rng(1)
    mask = generator.random((BATCH, LENGTH)) < 0.7
    mask[2] = False
    return {"segment_ids": generator.integers(0, 2, size=(BATCH, LENGTH)).astype("int32"), "mask": mask}


def test_a_window_of_one_is_the_own_value():
    query, key, value = _arguments()
    assert_close(local_attention(query, key, value, 1), np.repeat(value, 2, axis=2))


@pytest.mark.parametrize("marked", [False, True])
def test_pieces_with_history_make_up_the_whole(marked):
    query, key, value = _arguments()
    marks = _marks() if marked else {}
    expected = reference.local_attention(query, key, value, WINDOW, **marks)
    for start, stop in ((0, 7), (7, LENGTH)):
        seen = {name: mark[:, :stop] for name, mark in marks.items()}
        piece = local_attention(query[:, start:stop], key[:, :stop], value[:, :stop], WINDOW, **seen)
        assert_close(piece, expected[:, start:stop])


@pytest.mark.parametrize("window", [0, -1, 2.0, None, True])
def test_a_window_that_does_not_fit(window):
    with pytest.raises(ValueError) as error:
        local_attention(*_arguments(), window)
    assert str(error.value) == f"local_attention: window must be an integer of at least 1. Got {window!r}."
