"""What only PyTorch's file does: imports while Dynamo traces, products of int8 by other ways, transforms."""

import keras
import pytest

if keras.backend.backend() != "torch":
    pytest.skip("PyTorch's own", allow_module_level=True)

import numpy as np
import torch

from keras_griffin.backends import active, imported


def test_a_module_may_first_be_imported_in_a_compiled_function(tmp_path, monkeypatch):
    (tmp_path / "imported_by_dynamo").mkdir()
    (tmp_path / "imported_by_dynamo" / "__init__.py").touch()
    (tmp_path / "imported_by_dynamo" / "part.py").write_text("def twice(x):\n    return 2 * x\n")
    monkeypatch.syspath_prepend(tmp_path)
    __import__("imported_by_dynamo")
    function = torch.compile(lambda x: imported("imported_by_dynamo.part").twice(x), fullgraph=True, backend="eager")
    assert function(torch.ones(2)).tolist() == [2.0, 2.0]


def test_without_instructions_for_int8_a_product_is_that_of_keras(monkeypatch):
    monkeypatch.setattr(active(), "_has_int8_products", lambda: False)
    monkeypatch.setattr(torch, "_int_mm", None)
    products = active().int8_product(*(torch.full(size, 127, dtype=torch.int8) for size in [(1, 64), (64, 3)]))
    np.testing.assert_array_equal(products, np.full((1, 3), 64 * 127**2))


@pytest.mark.parametrize("rows", [1, 31, 32, 40])
def test_products_of_few_rows_are_computed_with_more(rows, monkeypatch):
    product, heights = torch._int_mm, []
    monkeypatch.setattr(torch, "_int_mm", lambda x, y: heights.append(len(x)) or product(x, y))
    row, matrix = (torch.randint(-128, 128, size, dtype=torch.int8) for size in [(rows, 64), (64, 8)])
    assert torch.equal(active().product_of_few_rows(row, matrix), row.int() @ matrix.int())
    assert heights == [max(32, rows)]


# PyTorch's own, where it prepares forward mode.
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
def test_pytorch_says_inside_which_transforms_it_is():
    """By functions that are not public: a version without them fails here."""
    found = []

    def function(x):
        found.append(active().is_transformed())
        return torch.sum(x**2)

    x = torch.ones(2, 3)
    torch.func.vmap(function)(x)
    torch.func.hessian(function)(x)
    torch.func.jvp(function, (x,), (x,))
    with torch.autograd.forward_ad.dual_level():
        function(x)
    assert found == [True] * 4
    torch.autograd.grad(function(x.requires_grad_()), x)
    torch.func.functional_call(torch.nn.Linear(3, 3), {}, (x,))
    assert found[4:] == [False] and not active().is_transformed()
