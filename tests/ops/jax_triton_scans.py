"""What `test_jax_triton.py` runs in Triton's interpreter: from JAX's arrays to the kernels and back."""

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from keras_griffin.ops import explain
from keras_griffin.ops.linear_scan import jax_triton
from keras_griffin.ops.linear_scan.cases import ScanCase
from keras_griffin.ops.recurrence.marks import Marks
from keras_griffin.ops.rg_lru.cases import UnitCase
from keras_griffin.ops.selective_scan import triton_passes
from keras_griffin.ops.selective_scan.cases import SelectiveCase
from tests.ops.rows import check_gradients, check_values
from tests.ops.triton_interpreter import CUT, WHOLE, interpreted  # noqa: F401

MARKED = {"has_reset": True, "has_mask": True}
CASES = [
    ("linear_scan", WHOLE, ScanCase(9, 3)),
    ("linear_scan", CUT, ScanCase(17, 2, dtype="bfloat16", has_mask=True, has_initial_state=False)),
    ("linear_scan", CUT, ScanCase(33, 2, is_complex=True, reverse=True, **MARKED)),
    ("rg_lru", WHOLE, UnitCase(9, 3, has_reset=True)),
    ("rg_lru", CUT, UnitCase(17, 2, dtype="bfloat16", has_initial_state=False)),
    ("rg_lru", CUT, UnitCase(17, 2, is_complex=True, reverse=True, **MARKED)),
    ("selective_scan", WHOLE, SelectiveCase(17, **MARKED)),
    ("selective_scan", WHOLE, SelectiveCase(9, 2, width=3, numbers=1, dtype="bfloat16", has_initial_state=False)),
]


@pytest.fixture(autouse=True)
def prepare(interpreted, monkeypatch):  # noqa: F811
    """By default, pieces of eight steps, and channels that fill a block and begin another."""
    interpreted(CUT, lanes=4)
    monkeypatch.setattr(triton_passes, "CHUNK", 8)
    return interpreted


@pytest.mark.parametrize(("op_name", "multiprocessors", "case"), CASES, ids=str)
def test_values_and_gradients(prepare, op_name, multiprocessors, case):
    prepare(multiprocessors, lanes=4)
    assert explain(op_name, case.shape, case.dtype).chosen == "jax_triton"
    check_values(op_name, "jax_triton", case)
    check_gradients(op_name, "jax_triton", case)


def test_vmap_is_a_loop():
    decay, inputs = jax.random.uniform(jax.random.key(0), (2, 3, 2, 17, 5))

    def loss(decay, inputs):
        states, final_state = jax_triton.linear_scan((decay,), (inputs,), (inputs[:, 0],), Marks(None, None), False)
        return jnp.sum(jnp.sin(states[0])) + jnp.sum(final_state[0])

    # The inputs are those of all.
    gradient = jax.grad(loss, (0, 1))
    expected = [gradient(each, inputs[0]) for each in decay]
    for own, others in zip(jax.vmap(gradient, (0, None))(decay, inputs[0]), zip(*expected, strict=True), strict=True):
        np.testing.assert_array_equal(own, np.stack(others))
