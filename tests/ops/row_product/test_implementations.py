"""What is this op's own beside the calls of `tests/ops/test_rows.py`."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.ops.implementation import Facts
from keras_griffin.ops.row_product import jax_bfloat16, reference, row_product
from keras_griffin.ops.row_product.cases import CASES


@pytest.mark.any_backend
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_reference_is_the_product(case):
    rows, matrix, *bias = (argument.values for argument in case.arguments())
    expected = rows @ matrix + sum(bias)
    np.testing.assert_allclose(reference.row_product(rows, matrix, *bias), expected, rtol=1e-12, atol=1e-12)


def test_what_the_kernel_says_of_calls():
    facts = Facts("jax", "cpu", (1, 8), "bfloat16")
    assert jax_bfloat16.supports(facts) is None
    assert jax_bfloat16.supports(Facts("jax", "cpu", (65, 8), "bfloat16")) == "serves at most 64 rows"
    assert jax_bfloat16.supports(Facts("jax", "cpu", (None, 8), "bfloat16")) == "serves at most 64 rows"
    assert jax_bfloat16.supports(Facts("jax", "cpu", (1, 8), "float32")) == "serves only bfloat16"


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="it is XLA's copy that is not made")
@pytest.mark.parametrize("count", [1, 2, 16])
def test_no_copy_of_the_matrix_is_made(count):
    import jax

    arguments = ops.ones((count, 512), "bfloat16"), ops.ones((512, 1024), "bfloat16")
    memory = jax.jit(row_product).lower(*arguments).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 512 * 1024


def test_messages():
    with pytest.raises(ValueError) as error:
        row_product(np.ones((2, 3), "float32"), np.ones((4, 3), "float32"))
    assert str(error.value) == (
        "row_product: rows must have shape (n, D) and the matrix (D, U). Got (2, 3) and (4, 3)."
    )
    with pytest.raises(ValueError) as error:
        row_product(np.ones((2, 3), "float32"), np.ones((3, 4), "float32"), np.ones(3, "float32"))
    assert str(error.value) == "row_product: bias must have shape (4,) for a matrix (3, 4). Got (3,)."
    with pytest.raises(ValueError, match="^row_product: rows must have a real floating dtype"):
        row_product(np.ones((2, 3), "int32"), np.ones((3, 3), "int32"))
