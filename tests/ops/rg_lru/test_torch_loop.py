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


@pytest.mark.parametrize("is_complex", [False, True])
def test_the_operator_is_registered_as_pytorch_wants_it(is_complex):
    torch.library.opcheck(torch_loop._rg_lru, (*arguments(is_complex), 8.0, False))
    inputs, *unit, start, reset, mask = arguments(is_complex)
    inputs, start = ([x.detach() for x in number] for number in (inputs, start))
    unit = [None if x is None else x.detach() for x in unit]
    torch.library.opcheck(
        torch_loop._gradient, (inputs, *unit, inputs, start, reset, mask, [*inputs, *start], 8.0, False)
    )


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
