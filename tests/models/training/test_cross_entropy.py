"""The cross-entropy on PyTorch."""

import keras
import numpy as np
import pytest

if keras.backend.backend() != "torch":
    pytest.skip("PyTorch's own cross-entropy", allow_module_level=True)

import torch

from keras_griffin.models.training import torch_cross_entropy
from keras_griffin.models.training.torch_cross_entropy import cross_entropy
from keras_griffin.testing.closeness import assert_close

# PyTorch's own, where it prepares forward mode.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")

RNG = np.random.default_rng(0)
TARGETS = torch.tensor(RNG.integers(5, size=(2, 4)), dtype=torch.int32)


@pytest.fixture(autouse=True)
def pieces_of_three_rows(monkeypatch):
    monkeypatch.setattr(torch_cross_entropy, "TOGETHER", 19)


def logits_of(dtype="float64", scale=1.0):
    return torch.tensor(scale * RNG.normal(size=(2, 4, 5)), dtype=getattr(torch, dtype), requires_grad=True)


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_value_and_gradient_against_numpy(scale):
    logits, weights = logits_of("float32", scale), RNG.normal(size=(2, 4))
    losses = cross_entropy(logits, TARGETS)
    losses.backward(torch.tensor(weights, dtype=torch.float32))
    z = logits.detach().numpy().astype("float64")
    powers = np.exp(z - z.max(-1, keepdims=True))
    shares = powers / powers.sum(-1, keepdims=True)
    hits = np.eye(5)[TARGETS.numpy()]
    expected = np.log(powers.sum(-1)) + z.max(-1) - (hits * z).sum(-1)
    assert_close(losses.detach().numpy(), expected)
    assert_close(logits.grad.numpy(), (shares - hits) * weights[..., None])


def test_finite_differences_twice():
    function = lambda logits: cross_entropy(logits, TARGETS)  # noqa: E731
    assert torch.autograd.gradcheck(function, logits_of())
    assert torch.autograd.gradgradcheck(function, logits_of())


def test_nothing_as_large_as_the_logits_is_kept_for_the_gradient():
    logits, kept = logits_of(), []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        cross_entropy(logits, TARGETS)
    large = {tensor.data_ptr() for tensor in kept if tensor.numel() >= logits.numel()}
    assert large == {logits.data_ptr()}
