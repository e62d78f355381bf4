"""Every implementation of the product against the definition, whose own gradient is put to the test first."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.ops.block_product import block_product, reference
from keras_griffin.ops.implementation import Facts, find_op, use_implementation
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from keras_griffin.testing.gradients import value_and_gradient

BACKEND = keras.backend.backend()
#: Rows, blocks, channels and units of a block.
SHAPES = [(0, 2, 3, 4), (1, 3, 5, 2), (64, 1, 7, 5), (65, 4, 3, 3), (130, 2, 16, 33)]
IMPLEMENTATIONS = [row.name for row in find_op("block_product").implementations]
CALLS = [(name, shape, has_bias) for name in IMPLEMENTATIONS for shape in SHAPES for has_bias in (False, True)]


def arguments(shape, has_bias, dtype="float32"):
    """Inputs, kernel and bias or None, rounded to the dtype, and the weights of a sum of outputs."""
    n, blocks, width, units = shape
    generator = np.random.default_rng(0)
    sizes = ((n, blocks * width), (blocks, width, units), (blocks, units))
    inputs, kernel, bias = (as_array(ops.cast(generator.normal(size=size).astype("float32"), dtype)) for size in sizes)
    weights = generator.normal(size=(n, blocks * units)).astype("float32")
    return (inputs, kernel, bias if has_bias else None), weights


def serves(name, shape, dtype):
    op = find_op("block_product")
    return op.rejection(op._named(name), Facts(BACKEND, "cpu", (shape[0], shape[1] * shape[2]), dtype)) is None


@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_reference_is_the_product_with_a_whole_matrix_and_its_gradient(shape, has_bias):
    n, blocks, width, units = shape
    (inputs, kernel, bias), weights = arguments(shape, has_bias)
    matrix = np.zeros((blocks * width, blocks * units))
    for g, block in enumerate(kernel):
        matrix[g * width : (g + 1) * width, g * units : (g + 1) * units] = block
    expected = inputs @ matrix + (0.0 if bias is None else bias.ravel())
    np.testing.assert_allclose(reference.block_product(inputs, kernel, bias), expected, rtol=1e-6, atol=1e-6)
    # The sum is linear in each argument: its gradient is exact for any step.
    gradients = reference.block_product_gradient(weights, inputs, kernel)
    for place, (gradient, array) in enumerate(zip(gradients, (inputs, kernel, bias), strict=True)):
        if array is None:
            continue
        direction = np.random.default_rng(1).normal(size=array.shape)
        moved = [x + direction if place == i else x for i, x in enumerate((inputs, kernel, bias)) if x is not None]
        moved += [None] * (3 - len(moved))
        change = np.sum(weights * (reference.block_product(*moved) - reference.block_product(inputs, kernel, bias)))
        np.testing.assert_allclose(np.sum(gradient * direction), change, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("name", "shape", "has_bias"), CALLS)
def test_values(name, shape, has_bias, dtype):
    if not serves(name, shape, dtype):
        pytest.skip("it says that it can't")
    arrays, _ = arguments(shape, has_bias, dtype)
    with use_implementation("block_product", name):
        outputs = block_product(*(None if x is None else ops.cast(x, dtype) for x in arrays))
    assert_close(outputs, reference.block_product(*arrays), dtype)


@pytest.mark.trainable
@pytest.mark.parametrize(("name", "shape", "has_bias"), [call for call in CALLS if call[0] != "reference"])
def test_gradients(name, shape, has_bias):
    if not serves(name, shape, "float32"):
        pytest.skip("it says that it can't")
    arrays, weights = arguments(shape, has_bias)

    def loss(inputs, kernel, *bias):
        with use_implementation("block_product", name):
            outputs = block_product(inputs, kernel, bias[0] if bias else None)
        return ops.sum(outputs * ops.convert_to_tensor(weights))

    _, gradients = value_and_gradient(loss, *(x for x in arrays if x is not None))
    expected = reference.block_product_gradient(weights, *arrays[:2])
    for gradient, wanted in zip(gradients, expected, strict=False):
        assert_close(gradient, wanted)


@pytest.mark.parametrize(
    ("inputs", "kernel", "bias"),
    [((3, 4), (2, 2, 5), (10,)), ((3, 5), (2, 2, 5), None), ((3, 4), (4, 5), None), ((1, 3, 4), (2, 2, 5), None)],
)
def test_shapes_that_do_not_fit(inputs, kernel, bias):
    arrays = [None if shape is None else np.ones(shape, "float32") for shape in (inputs, kernel, bias)]
    with pytest.raises(ValueError, match="block_product: inputs must have shape .n, D., the kernel .* Got "):
        block_product(*arrays)


def test_a_dtype_that_is_not_floating():
    with pytest.raises(ValueError, match="block_product: "):
        block_product(np.ones((3, 4), "int32"), np.ones((2, 2, 5), "int32"))


@pytest.mark.skipif(BACKEND != "torch", reason="an implementation of PyTorch's")
def test_the_operator_is_registered_as_pytorch_wants_it():
    import torch

    from keras_griffin.ops.block_product import torch_blocks

    (inputs, kernel, bias), _ = arguments((65, 4, 3, 3), True)
    tensors = [torch.tensor(x, requires_grad=True) for x in (inputs, kernel, bias)]
    torch.library.opcheck(torch_blocks._block_product, tensors)
    torch.library.opcheck(torch_blocks._block_product, (*tensors[:2], None))


@pytest.mark.skipif(BACKEND != "torch", reason="an implementation of PyTorch's")
def test_what_pytorch_serves():
    for rows, chosen in ((63, "portable"), (64, "torch_blocks"), (None, "portable")):
        op = find_op("block_product")
        assert op.explain((rows, 12), "float32").chosen == chosen
