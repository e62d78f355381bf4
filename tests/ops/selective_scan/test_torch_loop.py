"""What only PyTorch asks of its implementation: compilation, autocast, views, and modes without gradients."""

import keras
import numpy as np
import pytest

if keras.backend.backend() != "torch":
    pytest.skip("PyTorch's own modes", allow_module_level=True)

import torch

from keras_griffin.ops import selective_scan
from keras_griffin.ops.selective_scan import torch_loop
from keras_griffin.ops.selective_scan.cases import SelectiveCase
from keras_griffin.testing.closeness import assert_close
from tests.ops.torch_operators import check_operators

#: Two chunks, the second shorter.
CASE = SelectiveCase(40)


def arguments():
    return [torch.tensor(x.values, dtype=torch.float32, requires_grad=True) for x in CASE.arguments()]


def loss(*tensors):
    outputs, final_state = selective_scan(*tensors)
    return torch.sum(torch.sin(outputs)) + torch.sum(final_state)


def gradients(function):
    tensors = arguments()
    return torch.autograd.grad(function(*tensors), tensors)


def test_compilation_holds_the_scan_as_one_operator_and_changes_no_gradient():
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    for got, wanted in zip(gradients(compiled), gradients(loss), strict=True):
        assert_close(got, wanted.numpy())


def test_the_operators_are_registered_as_pytorch_wants_them():
    check_operators("selective_scan", torch_loop)


def test_one_result_alone_has_a_gradient():
    for index in range(2):
        tensors = arguments()
        into = torch.autograd.grad(selective_scan(*tensors)[index].sum(), tensors, allow_unused=True)
        assert all(torch.any(x != 0.0) for x in (into[0], into[1], into[2], into[3], into[5]))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu", torch.bfloat16)])
def test_modes(mode):
    with mode():
        results = selective_scan(*arguments())
    for result, wanted in zip(results, CASE.definition(*(x.values for x in CASE.arguments())), strict=True):
        assert result.dtype == torch.float32
        assert_close(result.detach(), wanted)


def test_arguments_may_be_views():
    def spread(x):
        return x.detach().transpose(0, 1).contiguous().transpose(0, 1)

    results = selective_scan(*map(spread, arguments()))
    for result, wanted in zip(results, CASE.definition(*(x.values for x in CASE.arguments())), strict=True):
        assert_close(result, wanted)


def test_nothing_is_read_from_memory_before_it_is_written(monkeypatch):
    expected = gradients(loss)
    for name in ("empty_like", "_empty_chunk", "_empty_starts"):
        original = getattr(torch_loop, name)
        monkeypatch.setattr(torch_loop, name, lambda *x, original=original: original(*x).fill_(np.nan))
    for got, wanted in zip(gradients(loss), expected, strict=True):
        assert_close(got, wanted.numpy())
