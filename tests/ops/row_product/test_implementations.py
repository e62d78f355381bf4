"""Every implementation of the product against the definition, whose own gradient is put to the test first."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.ops.implementation import Facts, find_op, use_implementation
from keras_griffin.ops.row_product import jax_bfloat16, reference, row_product
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from keras_griffin.testing.gradients import value_and_gradient

BACKEND = keras.backend.backend()
SHAPES = [(1, 7, 5), (2, 7, 5), (3, 65, 130), (64, 16, 33), (65, 16, 3)]
IMPLEMENTATIONS = [row.name for row in find_op("row_product").implementations]


def arguments(shape, dtype="float32"):
    """Rows, a matrix, and the weights of a sum of outputs."""
    n, width, units = shape
    generator = np.random.default_rng(0)
    arrays = [generator.normal(size=size).astype("float32") for size in ((n, width), (width, units), (n, units))]
    return [as_array(ops.cast(array, dtype)) for array in arrays[:2]], arrays[2]


def serves(name, shape, dtype):
    op = find_op("row_product")
    facts = Facts(BACKEND, "cpu", shape[:2], dtype)
    return op.rejection(op._named(name), facts) is None


@pytest.mark.parametrize("shape", SHAPES)
def test_the_reference_is_the_product_and_its_gradient(shape):
    (rows, matrix), weights = arguments(shape)
    np.testing.assert_allclose(reference.row_product(rows, matrix), rows.astype("float64") @ matrix, rtol=1e-12)
    d_rows, d_matrix = reference.row_product_gradient(weights, rows, matrix)
    step = 1e-6
    for gradient, array, index in ((d_rows, rows, 0), (d_matrix, matrix, 1)):
        direction = np.random.default_rng(1).normal(size=array.shape)
        ends = []
        for sign in (1, -1):
            moved = [rows.astype("float64"), matrix.astype("float64")]
            moved[index] = moved[index] + sign * step * direction
            ends.append(np.sum(weights * reference.row_product(*moved)))
        np.testing.assert_allclose(np.sum(gradient * direction), (ends[0] - ends[1]) / (2 * step), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_values(name, shape, dtype):
    if not serves(name, shape, dtype):
        pytest.skip("it says that it can't")
    arrays, _ = arguments(shape, dtype)
    with use_implementation("row_product", name):
        outputs = row_product(*(ops.cast(array, dtype) for array in arrays))
    assert_close(outputs, reference.row_product(*arrays), dtype)


@pytest.mark.trainable
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", [name for name in IMPLEMENTATIONS if name != "reference"])
@pytest.mark.parametrize("shape", SHAPES)
def test_gradients(name, shape, dtype):
    if not serves(name, shape, dtype):
        pytest.skip("it says that it can't")
    arrays, weights = arguments(shape, dtype)

    def loss(rows, matrix):
        rows, matrix = ops.cast(rows, dtype), ops.cast(matrix, dtype)
        with use_implementation("row_product", name):
            return ops.sum(ops.multiply(ops.cast(row_product(rows, matrix), "float32"), weights))

    _, gradients = value_and_gradient(loss, *(array.astype("float32") for array in arrays))
    for gradient, expected in zip(gradients, reference.row_product_gradient(weights, *arrays), strict=True):
        assert_close(gradient, expected, dtype)


def test_what_the_kernel_says_of_calls():
    facts = Facts("jax", "cpu", (1, 8), "bfloat16")
    assert jax_bfloat16.supports(facts) is None
    assert jax_bfloat16.supports(Facts("jax", "cpu", (65, 8), "bfloat16")) == "serves 64 rows at most"
    assert jax_bfloat16.supports(Facts("jax", "cpu", (None, 8), "bfloat16")) == "serves 64 rows at most"
    assert jax_bfloat16.supports(Facts("jax", "cpu", (1, 8), "float32")) == "serves bfloat16 alone"


@pytest.mark.skipif(BACKEND != "jax", reason="it is XLA's copy that is not made")
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
    with pytest.raises(ValueError, match="^row_product: rows must be of a real floating dtype"):
        row_product(np.ones((2, 3), "int32"), np.ones((3, 3), "int32"))
