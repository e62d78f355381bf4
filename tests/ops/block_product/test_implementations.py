"""What is this op's own beside the calls of `tests/ops/test_rows.py`."""

import keras
import numpy as np
import pytest

from keras_griffin.ops.block_product import block_product, reference
from keras_griffin.ops.block_product.cases import CASES, BlockCase
from keras_griffin.ops.implementation import find_op

BACKEND = keras.backend.backend()


@pytest.mark.any_backend
@pytest.mark.parametrize("case", [case for case in CASES if case.dtype == "float32"], ids=str)
def test_the_reference_is_the_product_with_a_whole_matrix(case):
    inputs, kernel, *bias = (argument.values for argument in case.arguments())
    matrix = np.zeros((case.blocks * case.width, case.blocks * case.units))
    for g, block in enumerate(kernel):
        matrix[g * case.width : (g + 1) * case.width, g * case.units : (g + 1) * case.units] = block
    expected = inputs @ matrix + (bias[0].ravel() if bias else 0.0)
    outputs = reference.block_product(inputs, kernel, *(bias or [None]))
    np.testing.assert_allclose(outputs, expected, rtol=1e-12, atol=1e-12)


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

    arguments = BlockCase(65, 4, 3, 3, has_bias=True).arguments()
    tensors = [torch.tensor(x.values, dtype=torch.float32, requires_grad=True) for x in arguments]
    torch.library.opcheck(torch_blocks._block_product, tensors)
    torch.library.opcheck(torch_blocks._block_product, (*tensors[:2], None))
    gradient = torch.ones(65, tensors[1].shape[0] * tensors[1].shape[2])
    torch.library.opcheck(torch_blocks._gradient, (gradient, *(x.detach() for x in tensors[:2])))


@pytest.mark.skipif(BACKEND != "torch", reason="an implementation of PyTorch's")
def test_what_pytorch_serves():
    for rows, chosen in ((63, "portable"), (64, "torch_blocks"), (None, "portable")):
        op = find_op("block_product")
        assert op.explain((rows, 12), "float32").chosen == chosen
