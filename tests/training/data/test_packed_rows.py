import numpy as np
import pytest

from keras_griffin.training import PackedDocuments
from keras_griffin.training.data.packed_rows import PackedBatch, PackingCounts

pytestmark = pytest.mark.any_backend


def test_pieces_are_appended_with_their_targets_and_counted():
    batch = PackedBatch(1, 4)
    batch.append(0, np.array([5, 6]), 2)
    batch.append(0, np.array([7, 8]), 1)
    assert (batch.targets.tolist(), batch.weights.tolist()) == ([[6, 0, 8, 0]], [[1.0, 0.0, 1.0, 0.0]])
    assert PackingCounts().fill == 0.0 and PackingCounts(placed=3, padding=1).fill == 0.75


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        ([[1, 1]], r"weights must be one array for each document\. Got 1 and 2 documents"),
        ([[1, 1], [1]], r"weights must be finite numbers .*\. Got int64 \(1,\) for document 1 of 3 tokens"),
        ([[1, 1], [1, -1, 0]], r"weights must be finite numbers .*\. Got int64 \(3,\) for document 1 of 3 tokens"),
        ([[1, 1], [1, np.nan, 0]], r"weights must be finite numbers .*\. Got float64 \(3,\) for document 1 of 3"),
        ([["a", "b"], [1, 1, 0]], r"weights must be finite numbers .*\. Got <U1 \(2,\) for document 0 of 2 tokens"),
    ],
)
def test_weights_that_are_none(weights, sentence):
    with pytest.raises(ValueError, match=rf"^PackedDocuments: {sentence}"):
        PackedDocuments([[1, 2], [1, 2, 3]], 4, 1, weights=weights)
