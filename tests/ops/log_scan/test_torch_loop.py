"""What only PyTorch asks of its implementation: compilation, views, memory."""

import keras
import numpy as np
import pytest

if keras.backend.backend() != "torch":
    pytest.skip("PyTorch's own modes", allow_module_level=True)

import torch

from keras_griffin.ops import log_scan
from keras_griffin.ops.log_scan import torch_loop
from keras_griffin.ops.log_scan.reference import definition
from keras_griffin.testing.closeness import assert_close

B, T, D = 2, 70, 8


def arguments():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator) for shape in ((B, T, D), (B, T, D), (B, D))]


def loss(decay, inputs, start):
    states, final_state = log_scan(-torch.exp(decay), 2.0 * inputs, start)
    return torch.sum(states * inputs) + torch.sum(final_state)


def gradients(function):
    tensors = [tensor.requires_grad_() for tensor in arguments()]
    return torch.autograd.grad(function(*tensors), tensors)


def test_a_compiled_function_holds_the_scan_as_one_operator_and_has_the_same_gradient():
    # Modules are imported on first use, which Dynamo can't follow.
    calls, expected = [], gradients(loss)

    def backend(module, _):
        calls.extend(str(node.target) for node in module.graph.nodes if node.op == "call_function")
        return module.forward

    torch.compile(loss, fullgraph=True, backend=backend)(*arguments())
    assert sum("keras_griffin" in call and "log_scan" in call for call in calls) == 1 and len(calls) < 30
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    for got, wanted in zip(gradients(compiled), expected, strict=True):
        assert_close(got, wanted.numpy())


@pytest.mark.parametrize("forgets", [False, True])
def test_the_operators_are_registered_as_pytorch_wants_them(forgets):
    decay, inputs, start = (tensor.requires_grad_() for tensor in arguments())
    forgotten = torch.arange(T).expand(B, T)[..., None] % 5 == 3 if forgets else None
    torch.library.opcheck(torch_loop._log_scan, (decay, inputs, start, forgotten))
    decay, inputs, start = arguments()
    torch.library.opcheck(torch_loop._gradient, (decay, inputs, inputs, start, inputs, start, forgotten))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_modes_without_gradients(mode):
    decay, inputs, start = (tensor.requires_grad_() for tensor in arguments())
    with mode():
        states, _ = log_scan(decay, inputs, start)
    assert not states.requires_grad
    assert_close(states, definition(*(tensor.detach().numpy() for tensor in (decay, inputs, start)))[0])


def test_arguments_may_be_views():
    decay, inputs, start = arguments()
    views = decay.transpose(0, 1).contiguous().transpose(0, 1), inputs[:1].expand(B, T, D), start[:1].expand(B, D)
    assert_close(log_scan(*views)[0], definition(*(view.numpy() for view in views))[0])


def test_nothing_is_read_from_memory_before_it_is_written(monkeypatch):
    expected = gradients(loss)
    monkeypatch.setattr(torch_loop, "empty_like", lambda array: torch.full_like(array, np.nan))
    for got, wanted in zip(gradients(loss), expected, strict=True):
        assert_close(got, wanted.numpy())
