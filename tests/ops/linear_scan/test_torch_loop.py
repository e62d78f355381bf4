"""What only PyTorch asks of its implementation: compilation, autocast, views, and modes without gradients."""

import keras
import numpy as np
import pytest

if keras.backend.backend() != "torch":
    pytest.skip("PyTorch's own modes", allow_module_level=True)

import torch

from keras_griffin.ops import linear_scan
from keras_griffin.ops.linear_scan import torch_loop
from keras_griffin.ops.linear_scan.reference import definition
from keras_griffin.testing.closeness import assert_close

B, T, D = 2, 130, 8


def arguments():
    generator = torch.Generator().manual_seed(0)
    decay = 0.5 + 0.5 * torch.rand(B, T, D, generator=generator)
    return decay, torch.randn(B, T, D, generator=generator), torch.randn(B, D, generator=generator)


def loss(decay, inputs, start):
    states, final_state = linear_scan(torch.sigmoid(decay), 2.0 * inputs, start)
    return torch.sum(states * inputs) + torch.sum(final_state)


def gradients(function):
    tensors = [tensor.requires_grad_() for tensor in arguments()]
    return torch.autograd.grad(function(*tensors), tensors)


def test_a_compiled_function_holds_the_scan_as_one_operator():
    calls = []

    def backend(module, _):
        calls.extend(str(node.target) for node in module.graph.nodes if node.op == "call_function")
        return module.forward

    torch.compile(loss, fullgraph=True, backend=backend)(*arguments())
    assert sum("keras_griffin" in call and "linear_scan" in call for call in calls) == 1
    assert len(calls) < 30


def test_compilation_changes_no_gradient():
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    for got, wanted in zip(gradients(compiled), gradients(loss), strict=True):
        assert_close(got, wanted.numpy())


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("parts", [1, 2])
def test_the_operator_is_registered_as_pytorch_wants_it(parts, reverse):
    decay, inputs, start = ([tensor.requires_grad_()] * parts for tensor in arguments())
    torch.library.opcheck(torch_loop._linear_scan, (decay, inputs, start, None, reverse))


def test_the_gradient_is_registered_as_pytorch_wants_it():
    *sequences, start = arguments()
    decay, inputs, start = ([x.clone()] * 2 for x in (*(x[:, :3] for x in sequences), start))
    forgotten = torch.tensor([False, True, False]).expand(B, 3)[..., None]
    torch.library.opcheck(torch_loop._gradient, (decay, inputs, start, forgotten, [*inputs, *start], True))


def test_autocast_leaves_the_scan_in_float32():
    with torch.autocast("cpu", torch.bfloat16):
        states, final_state = linear_scan(*arguments())
    expected, _ = definition(*(tensor.numpy() for tensor in arguments()))
    assert states.dtype == final_state.dtype == torch.float32
    assert_close(states, expected)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_modes_without_gradients(mode):
    decay, inputs, start = (tensor.requires_grad_() for tensor in arguments())
    with mode():
        states, _ = linear_scan(decay, inputs, start)
    assert not states.requires_grad
    assert_close(states, definition(*(tensor.detach().numpy() for tensor in (decay, inputs, start)))[0])


def test_arguments_may_be_views():
    decay, inputs, start = arguments()
    views = decay.transpose(0, 1).contiguous().transpose(0, 1), inputs[:1].expand(B, T, D), start.expand(B, D)
    assert_close(linear_scan(*views)[0], definition(*(view.numpy() for view in views))[0])


def test_nothing_is_read_from_memory_before_it_is_written(monkeypatch):
    expected = gradients(loss)
    monkeypatch.setattr(torch_loop, "empty_like", lambda array: torch.full_like(array, np.nan))
    for got, wanted in zip(gradients(loss), expected, strict=True):
        assert_close(got, wanted.numpy())
