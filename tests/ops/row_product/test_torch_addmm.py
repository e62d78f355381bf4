"""A row whose product PyTorch's threads share, because the library would leave it to one."""

import keras
import pytest

if keras.backend.backend() != "torch":
    pytest.skip("PyTorch's own product", allow_module_level=True)

import numpy as np
import torch

from keras_griffin.layers import TokenEmbedding
from keras_griffin.ops.row_product import row_product, torch_addmm
from keras_griffin.testing.closeness import assert_close


@pytest.fixture(autouse=True)
def divided(monkeypatch):
    """As on a processor of AMD's with four cores, and every matrix large; the numbers of parts of each product."""
    found, in_parts = [], torch_addmm._in_parts

    def counted(rows, matrix, bias, parts):
        found.append(parts)
        return in_parts(rows, matrix, bias, parts)

    monkeypatch.setattr(torch_addmm, "_mkl_divides", lambda: False)
    monkeypatch.setattr(torch_addmm, "_in_parts", counted)
    monkeypatch.setattr(torch_addmm, "LARGE", 0)
    monkeypatch.setattr(torch_addmm, "LEAST", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    return found


@pytest.mark.parametrize(("size", "parts"), [(12, [6]), (9, [3]), (11, [])])
@pytest.mark.parametrize("is_by_column", [False, True])
@pytest.mark.parametrize("has_bias", [False, True])
def test_the_product_of_one_row(size, parts, is_by_column, has_bias, divided):
    """What is divided is the axis along which the matrix is stored in blocks."""
    generator = np.random.default_rng(0)
    width, units = (5, size) if is_by_column else (size, 5)
    row, matrix, bias = (generator.normal(size=shape) for shape in ((1, width), (width, units), (units,)))
    tensors = [torch.tensor(x, dtype=torch.float32) for x in (row, matrix, bias)[: 2 + has_bias]]
    if is_by_column:
        tensors[1] = tensors[1].t().contiguous().t()
    with torch.no_grad():
        outputs = row_product(*tensors)
    assert divided == parts
    assert_close(outputs, row @ matrix + has_bias * bias)


def test_a_compiled_product_is_whole(monkeypatch):
    """Dynamo can't trace the question for the processor."""
    monkeypatch.undo()
    compiled = torch.compile(row_product, fullgraph=True, backend="aot_eager")
    row, matrix = torch.ones(1, 256), torch.ones(256, 512)
    with torch.no_grad():
        assert torch.equal(compiled(row, matrix), row @ matrix)


def test_what_is_not_divided(divided, monkeypatch):
    row, matrix = torch.ones(1, 4), torch.ones(4, 8)
    row_product(row, matrix)  # a gradient may follow
    with torch.no_grad():
        row_product(torch.ones(2, 4), matrix)
        row_product(row.bfloat16(), matrix.bfloat16())
        row_product(row, torch.ones(8, 16)[::2, ::2])
        with monkeypatch.context() as fewer:
            fewer.setattr(torch_addmm, "LEAST", 3)
            row_product(row, matrix)
        monkeypatch.setattr(torch_addmm, "LARGE", 33)
        row_product(row, matrix)
    assert not divided


@pytest.mark.parametrize(("tie_weights", "parts"), [(True, 6), (False, 8)])
def test_logits_of_one_row(tie_weights, parts, divided):
    layer = TokenEmbedding(12, 8, logits_soft_cap=3.0, tie_weights=tie_weights)
    vectors = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    expected = layer(vectors, reverse=True).detach()
    with torch.no_grad():
        assert_close(layer(vectors[:1], reverse=True), expected[:1].numpy())
    assert divided == [parts]
