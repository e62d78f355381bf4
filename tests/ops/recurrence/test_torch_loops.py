"""Scans on PyTorch: compilation, autocast, views, memory, and modes without gradients."""

import keras
import numpy as np
import pytest

if keras.backend.backend() != "torch":
    pytest.skip("PyTorch's own modes", allow_module_level=True)

import torch

from keras_griffin.ops import linear_scan, log_scan
from keras_griffin.ops.linear_scan import torch_loop
from keras_griffin.ops.linear_scan.reference import definition
from keras_griffin.ops.log_scan import torch_loop as log_loop
from keras_griffin.ops.log_scan.reference import definition as log_definition
from keras_griffin.testing.closeness import assert_close

B, T, D = 2, 130, 8
SCANS = {"linear_scan": (linear_scan, definition, torch_loop), "log_scan": (log_scan, log_definition, log_loop)}


@pytest.fixture(params=SCANS)
def name(request):
    return request.param


def arguments():
    generator = torch.Generator().manual_seed(0)
    decay = 0.5 + 0.5 * torch.rand(B, T, D, generator=generator)
    return decay, torch.randn(B, T, D, generator=generator), torch.randn(B, D, generator=generator)


def loss_of(name):
    scan, *_ = SCANS[name]

    def loss(decay, inputs, start):
        states, final_state = scan(torch.sigmoid(decay), 2.0 * inputs, start)
        return torch.sum(states * inputs) + torch.sum(final_state)

    return loss


def gradients(function):
    tensors = [tensor.requires_grad_() for tensor in arguments()]
    return torch.autograd.grad(function(*tensors), tensors)


def test_a_compiled_function_holds_the_scan_as_one_operator_and_has_the_same_gradient(name):
    # Modules are imported on first use, which Dynamo can't follow.
    calls, expected = [], gradients(loss_of(name))

    def backend(module, _):
        calls.extend(str(node.target) for node in module.graph.nodes if node.op == "call_function")
        return module.forward

    torch.compile(loss_of(name), fullgraph=True, backend=backend)(*arguments())
    assert sum("keras_griffin" in call and name in call for call in calls) == 1 and len(calls) < 30
    compiled = torch.compile(loss_of(name), fullgraph=True, backend="aot_eager")
    for got, wanted in zip(gradients(compiled), expected, strict=True):
        assert_close(got, wanted.numpy())


@pytest.mark.parametrize(("parts", "reverse"), [(1, False), (2, True)])
def test_the_operators_are_registered_as_pytorch_wants_them(parts, reverse):
    decay, inputs, start = ([tensor.requires_grad_()] * parts for tensor in arguments())
    torch.library.opcheck(torch_loop._linear_scan, (decay, inputs, start, None, None, reverse))
    *sequences, start = arguments()
    decay, inputs, start = ([x.clone()] * parts for x in (*(x[:, :3] for x in sequences), start))
    forgotten = torch.tensor([False, True, False]).expand(B, 3)[..., None]
    torch.library.opcheck(torch_loop._gradient, (decay, inputs, start, forgotten, None, [*inputs, *start], reverse))


@pytest.mark.parametrize("forgets", [False, True])
def test_the_operators_of_log_scan_are_registered_as_pytorch_wants_them(forgets):
    decay, inputs, start = (tensor.requires_grad_() for tensor in arguments())
    forgotten = torch.arange(T).expand(B, T)[..., None] % 5 == 3 if forgets else None
    torch.library.opcheck(log_loop._log_scan, (decay, inputs, start, forgotten))
    decay, inputs, start = arguments()
    torch.library.opcheck(log_loop._gradient, (decay, inputs, inputs, start, inputs, start, forgotten))


def test_autocast_leaves_the_scan_in_float32(name):
    scan, definition, _ = SCANS[name]
    with torch.autocast("cpu", torch.bfloat16):
        states, final_state = scan(*arguments())
    expected, _ = definition(*(tensor.numpy() for tensor in arguments()))
    assert states.dtype == final_state.dtype == torch.float32
    assert_close(states, expected)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_modes_without_gradients_and_views(mode, name):
    scan, definition, _ = SCANS[name]
    decay, inputs, start = arguments()
    views = decay.transpose(0, 1).contiguous().transpose(0, 1), inputs[:1].expand(B, T, D), start[:1].expand(B, D)
    expected, _ = definition(*(view.numpy() for view in views))
    with mode():
        states, _ = scan(*(view.requires_grad_() for view in views))
    assert not states.requires_grad
    assert_close(states, expected)


def test_nothing_is_read_from_memory_before_it_is_written(monkeypatch, name):
    expected = gradients(loss_of(name))
    monkeypatch.setattr(SCANS[name][2], "empty_like", lambda array: torch.full_like(array, np.nan))
    for got, wanted in zip(gradients(loss_of(name)), expected, strict=True):
        assert_close(got, wanted.numpy())
