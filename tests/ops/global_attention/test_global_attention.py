"""What a query sees of what is not finite, in every row; `tests/ops/shared/test_attention_op.py` has the contract."""

import numpy as np
import pytest
from keras import ops

from keras_griffin.ops import global_attention, use_implementation
from keras_griffin.testing.arrays import as_array
from tests.ops.rows import runnable

B, T = 2, 40
SHAPES = (B, T, 2, 16), (B, T, 1, 16), (B, T, 1, 16)
ROWS = [name for name in runnable("global_attention", SHAPES[0]) if name != "reference"]


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf Tensor:UserWarning")
@pytest.mark.parametrize("marked", [False, True])
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("implementation", ROWS)
def test_a_query_is_lost_by_what_it_sees(implementation, place, marked):
    """By itself, or by a key or a value up to it, but of its document."""
    arrays = [np.random.default_rng(0).normal(size=shape).astype("float32") for shape in SHAPES]
    arrays[place][:, 2] = np.nan
    steps = np.arange(T)
    documents = np.broadcast_to(steps // 35, (B, T)) if marked else None
    lost = steps == 2 if place == 0 else (steps >= 2) & (steps < (35 if marked else T))
    with use_implementation("global_attention", implementation):
        outputs = as_array(global_attention(*map(ops.convert_to_tensor, arrays), segment_ids=documents))
    np.testing.assert_array_equal(np.isnan(outputs), np.broadcast_to(lost[:, None, None], outputs.shape))
