"""The gradient of a function, in operations that PyTorch differentiates; for each operator see `test_transforms.py`."""

import keras
import pytest

if keras.backend.backend() != "torch":
    pytest.skip("PyTorch's own gradients", allow_module_level=True)

import torch

from keras_griffin.ops.shared.torch_second_derivatives import are_wanted, differentiable_gradient


def test_tensors_may_depend_on_one_another_and_results_on_none_of_them():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y, unused = 3.0 * x, torch.ones(2)
    function = lambda x, y, absent, unused: (x * y**2, torch.ones(2))  # noqa: E731
    into = differentiable_gradient(function, (x, y, None, unused), (torch.ones(2), torch.ones(2)))
    assert torch.equal(into[0], y**2) and torch.equal(into[1], 2.0 * x * y)
    assert into[2] is None and torch.equal(into[3], torch.zeros(2))
    # The derivative of 9 x^2 + 6 x^2.
    assert torch.equal(torch.autograd.grad(sum(into[:2]).sum(), x)[0], 30.0 * x)


def test_they_are_wanted_where_a_graph_is_and_under_a_transform():
    found = []
    x = torch.ones(2, requires_grad=True)
    x.register_hook(lambda gradient: found.append(are_wanted()))
    for has_graph in (False, True):
        torch.autograd.grad((x * x).sum(), x, create_graph=has_graph)
    output = x * x
    torch.func.vmap(lambda v: torch.autograd.grad(output, x, v, retain_graph=True)[0])(torch.eye(2))
    assert found == [False, True, True]
