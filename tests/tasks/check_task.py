"""What is true of the batches of every synthetic task, here and in the experiments."""

import numpy as np
import pytest

from keras_griffin.tasks import TaskBatch


def check_task(name, task, shape):
    """`task(seed=...)` gives a `TaskBatch` of this shape, whose rows differ by every number of the seed."""
    batch = task(seed=0)
    assert isinstance(batch, TaskBatch)
    assert [(array.shape, str(array.dtype)) for array in batch] == [
        (shape, "int32"),
        (shape, "int32"),
        (shape, "float32"),
    ]
    assert set(np.unique(batch.weights)) == {0.0, 1.0} and not batch.targets[batch.weights == 0].any()
    batches = [task(seed=(0, epoch, index)) for epoch in range(3) for index in range(3)]
    assert len({row.tobytes() for one in batches for row in one.token_ids}) == 9 * shape[0]
    assert all(np.array_equal(one, other) for one, other in zip(task(seed=(0, 0, 0)), batches[0], strict=True))
    with pytest.raises(
        ValueError, match=f"^{name}: seed must be an integer of at least 0, or a list of such. Got -1.$"
    ):
        task(seed=-1)
