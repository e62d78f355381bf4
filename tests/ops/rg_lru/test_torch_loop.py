"""What only PyTorch asks of its implementation: pieces of time, and the operators' registration."""

import keras
import numpy as np
import pytest

if keras.backend.backend() != "torch":
    pytest.skip("PyTorch's own modes", allow_module_level=True)

import torch

from keras_griffin.ops import rg_lru
from keras_griffin.ops.rg_lru import torch_loop
from keras_griffin.testing.closeness import assert_close
from tests.ops.torch_operators import check_operators

B, T, D = 2, 23, 4


def arguments(is_complex):
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=generator).requires_grad_()  # noqa: E731
    parts = 2 if is_complex else 1
    inputs, start = [draw(B, T, D) for _ in range(parts)], [draw(B, D) for _ in range(parts)]
    marks = torch.rand(B, T, 1, generator=generator) < 0.2, torch.rand(B, T, 1, generator=generator) < 0.8
    return inputs, draw(B, T, D), draw(B, T, D), draw(D), draw(D) if is_complex else None, start, *marks


def results_and_gradients(is_complex, reverse):
    inputs, *unit, phase, start, reset, mask = arguments(is_complex)
    number = (lambda parts: tuple(parts)) if is_complex else (lambda parts: parts[0])
    results = rg_lru(
        number(inputs), *unit, number(start), phase=phase, reset=reset[..., 0], mask=mask[..., 0], reverse=reverse
    )
    results = [part for result in results for part in (result if is_complex else [result])]
    tensors = [tensor for tensor in (*inputs, *unit, *start, phase) if tensor is not None]
    return [*results, *torch.autograd.grad(sum(torch.sum(torch.sin(part)) for part in results), tensors)]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("is_complex", [False, True])
@pytest.mark.parametrize("steps", [1, 5])
def test_pieces_change_nothing(monkeypatch, steps, is_complex, reverse):
    expected = results_and_gradients(is_complex, reverse)
    monkeypatch.setattr(torch_loop, "PIECE", steps * B * D)
    for actual, wanted in zip(results_and_gradients(is_complex, reverse), expected, strict=True):
        assert_close(actual.detach(), wanted.detach().numpy())


def test_the_operators_are_registered_as_pytorch_wants_them():
    check_operators("rg_lru", torch_loop)


@pytest.mark.parametrize("is_complex", [False, True])
def test_arguments_are_left_as_they_are(is_complex):
    inputs, *unit, phase, start, reset, mask = arguments(is_complex)
    with torch.no_grad():
        for x in (*inputs, *unit[:2]):
            x.masked_fill_(~mask, torch.nan)
    tensors = [*inputs, *unit, *([phase] if is_complex else []), *start]
    kept = [x.detach().clone() for x in tensors]
    given = [x.detach() for x in tensors]
    results = torch_loop._rg_lru(given, reset, mask, 8.0, False)
    cotangents = [torch.ones_like(x) for x in results]
    torch_loop._gradient(given, results[: len(start)], cotangents, reset, mask, 8.0, False)
    assert all(torch.equal(x.nan_to_num(), y.nan_to_num()) for x, y in zip(tensors, kept, strict=True))
    assert all(torch.all(x == 1.0) for x in cotangents)


def test_nothing_is_read_from_memory_before_it_is_written(monkeypatch):
    expected = results_and_gradients(False, False)
    monkeypatch.setattr(torch_loop, "empty_like", lambda array: torch.full_like(array, np.nan))
    for actual, wanted in zip(results_and_gradients(False, False), expected, strict=True):
        assert_close(actual.detach(), wanted.detach().numpy())


def test_compilation_changes_no_gradient():
    unit = [tensor for tensor in (arguments(False)[0][0], *arguments(False)[1:4])]
    loss = lambda *unit: torch.sum(torch.sin(rg_lru(*unit)[0]))  # noqa: E731
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    for got, wanted in zip(
        torch.autograd.grad(compiled(*unit), unit), torch.autograd.grad(loss(*unit), unit), strict=True
    ):
        assert_close(got, wanted.numpy())
