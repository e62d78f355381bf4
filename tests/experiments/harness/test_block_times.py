import numpy as np
import pytest

from experiments.harness.block_times import (
    block_seconds,
    compile_blocks,
    continuation,
    fastest_blocks,
)
from experiments.models.families import TINY
from keras_griffin.models import MQATransformer

pytestmark = pytest.mark.any_backend


def test_blocks_are_compiled_at_the_sizes_that_generate_has():
    model = MQATransformer(TINY.replace(num_layers=1))
    state = model.prefill(np.ones((2, 3), "int32"))
    sizes = compile_blocks(model, state, 4, 64)
    own = continuation(model, state, 4 * 64)
    made = [(tokens, own.working_state.num_bytes) for tokens in own.blocks(64)]
    assert [size for _, size in made] == sizes and sizes[0] < sizes[1] < sizes[2] == sizes[3]
    tokens = np.concatenate([tokens for tokens, _ in made], axis=1)
    np.testing.assert_array_equal(tokens, model.generate(np.ones((2, 3), "int32"), 4 * 64)[:, 3:])
    # The state is still valid.
    times = block_seconds(model, state, 3, 64)
    assert len(times) == 3 and min(times) > 0


def test_blocks_that_do_the_same_work_are_compared():
    passes = np.array([[3.0, 2.0, 9.0, 7.0], [4.0, 5.0, 8.0, 6.0]])
    np.testing.assert_array_equal(fastest_blocks(passes, [10, 10, 20, 20]), [2, 2, 6, 6])
