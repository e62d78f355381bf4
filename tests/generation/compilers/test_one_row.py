import keras
import numpy as np
import pytest

if keras.backend.backend() != "torch":
    pytest.skip("PyTorch alone", allow_module_level=True)

import torch
from torch.fx.experimental.proxy_tensor import make_fx

from keras_griffin.generation.compilers.torch_one_row import ONE_ROW_AS_SUM, SMALL

FUNCTIONS = {
    "mm": lambda bias, rows, matrix: rows[0] @ matrix[0],
    "addmm": lambda bias, rows, matrix: torch.addmm(bias, rows[0], matrix[0], beta=0.5, alpha=2),
    "bmm": lambda bias, rows, matrix: rows @ matrix,
}
DEFINITIONS = {
    "mm": lambda bias, rows, matrix: rows[0] @ matrix[0],
    "addmm": lambda bias, rows, matrix: 0.5 * bias + 2 * (rows[0] @ matrix[0]),
    "bmm": lambda bias, rows, matrix: np.einsum("bni,bij->bnj", rows, matrix),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("num_rows", [1, 2])
def test_one_row_becomes_a_sum_and_more_rows_stay_a_product(name, num_rows):
    generator = np.random.default_rng(0)
    arguments = [generator.normal(size=size) for size in [(7,), (3, num_rows, 5), (3, 5, 7)]]
    tensors = [torch.tensor(x, dtype=torch.float32) for x in arguments]
    graph = make_fx(FUNCTIONS[name], decomposition_table=ONE_ROW_AS_SUM)(*tensors)
    np.testing.assert_allclose(graph(*tensors), DEFINITIONS[name](*arguments), rtol=1e-5, atol=1e-5)
    targets = {str(node.target) for node in graph.graph.nodes}
    assert (f"aten.{name}.default" in targets) == (num_rows == 2)
    assert ("aten.sum.dim_IntList" in targets) == (num_rows == 1)


@pytest.mark.parametrize(
    ("rows", "matrix", "stays"),
    [
        (torch.ones((1, 3), dtype=torch.int32), torch.ones((3, 2), dtype=torch.int32), True),
        (torch.ones((1, 2)), torch.ones((2, SMALL // 2)), False),
        (torch.ones((1, 2)), torch.ones((2, SMALL // 2 + 1)), True),
    ],
)
def test_integers_and_a_large_matrix_stay_a_product(rows, matrix, stays):
    graph = make_fx(torch.mm, decomposition_table=ONE_ROW_AS_SUM)(rows, matrix)
    assert ("aten.mm.default" in {str(node.target) for node in graph.graph.nodes}) == stays
    assert torch.equal(graph(rows, matrix), rows @ matrix)
