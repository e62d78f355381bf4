"""PyTorch's forward mode on operators of our own: refused, because it would give zeros."""

import re

import keras
import pytest

if keras.backend.backend() != "torch":
    pytest.skip("PyTorch's own forward mode", allow_module_level=True)

import torch
from torch.autograd import forward_ad

from keras_griffin.ops import (
    linear_cross_entropy,
    linear_scan,
    local_attention,
    log_scan,
    rg_lru,
    selective_scan,
    use_implementation,
)
from keras_griffin.ops.block_product import block_product
from keras_griffin.ops.torch_forward_mode import refuse_forward_mode

# PyTorch's own, where it prepares forward mode.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")

SEQUENCE, ROWS = torch.full((2, 3, 4), 0.5), torch.full((70, 4), 0.5)
KERNEL, TARGETS = torch.ones(2, 2, 3), torch.zeros(2, 3, dtype=torch.int32)
CALLS = {
    "linear_scan": (lambda x: linear_scan(x, x)[0], SEQUENCE),
    "log_scan": (lambda x: log_scan(x, x)[0], SEQUENCE),
    "rg_lru": (lambda x: rg_lru(x, x, x, x[0, 0])[0], SEQUENCE),
    "selective_scan": (lambda x: selective_scan(x, x, x[0, :1].T, x[..., :1], x[..., :1])[0], SEQUENCE),
    "block_product": (lambda x: block_product(x, KERNEL), ROWS),
    "local_attention": (lambda x: local_attention(*3 * [x[:, :, None]], 2), SEQUENCE),
    "linear_cross_entropy": (lambda x: linear_cross_entropy(x, x[0], TARGETS), SEQUENCE),
}


def with_dual_tensors(function, x):
    with forward_ad.dual_level():
        return function(forward_ad.make_dual(x, torch.ones_like(x)))


MODES = {
    "jvp": lambda function, x: torch.func.jvp(function, (x,), (torch.ones_like(x),)),
    "jacfwd": lambda function, x: torch.func.jacfwd(function)(x),
    "forward_ad": with_dual_tensors,
    "forward_ad of a parameter": lambda function, x: with_dual_tensors(function, x.clone().requires_grad_()),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("op_name", CALLS)
def test_forward_mode_is_refused(op_name, mode):
    sentence = (
        f"{op_name}: forward mode (torch.func.jvp, torch.func.jacfwd, torch.autograd.forward_ad) has no rule; "
        "use backward mode (torch.func.vjp, torch.autograd.grad). Got a tensor with a tangent."
    )
    with pytest.raises(NotImplementedError, match=f"^{re.escape(sentence)}$"):
        MODES[mode](*CALLS[op_name])


@pytest.mark.parametrize("op_name", CALLS)
def test_backward_mode_is_not_nor_what_has_no_tangent(op_name):
    function, x = CALLS[op_name]
    x = x.clone().requires_grad_()
    with forward_ad.dual_level():
        (gradient,) = torch.autograd.grad(function(x).sum(), x)
    assert torch.any(gradient != 0.0)
    refuse_forward_mode("an op", (x, None))


def test_what_pytorch_differentiates_by_itself_has_forward_mode():
    x = torch.full((2, 3, 4), 0.5)
    with use_implementation("linear_scan", "portable"):
        _, tangent = torch.func.jvp(lambda x: linear_scan(x, x)[0], (x,), (torch.ones_like(x),))
    assert torch.all(tangent > 0.0)
