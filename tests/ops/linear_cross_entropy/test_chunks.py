"""Chunks of time; the rest of the file is in the implementations' values."""

import numpy as np
import pytest
from keras import ops

from keras_griffin.ops.linear_cross_entropy import chunks
from keras_griffin.testing.arrays import as_array


@pytest.mark.parametrize(
    ("batch_size", "length", "vocabulary", "steps"),
    [(1, 1, 1, 1), (1, 100, 2, 100), (2, 100, 3, 25), (1, 101, 200, 1), (1, 10, 50, 4), (0, 5, 3, 5), (3, 0, 4, 1)],
)
def test_steps_in_a_chunk(batch_size, length, vocabulary, steps, monkeypatch):
    monkeypatch.setattr(chunks, "LOGITS_AT_A_TIME", 200)
    assert chunks.steps_in_chunk(batch_size, length, vocabulary) == steps


def test_chunks_are_joined_again(monkeypatch):
    monkeypatch.setattr(chunks, "LOGITS_AT_A_TIME", 12)
    x = np.arange(28, dtype="float32").reshape(2, 7, 2)
    (parts,) = chunks.split(ops.ones((3, 2)), ops.convert_to_tensor(x))
    assert tuple(parts.shape) == (4, 2, 2, 2)
    np.testing.assert_array_equal(as_array(parts)[-1, :, 1], 0.0)
    np.testing.assert_array_equal(as_array(chunks.joined(parts, 7)), x)
