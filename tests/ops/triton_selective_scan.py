"""What `test_torch_triton.py` runs in Triton's interpreter."""

import numpy as np
import pytest
import torch

from keras_griffin.ops import explain, selective_scan
from keras_griffin.ops.selective_scan import torch_triton, triton_passes
from keras_griffin.ops.selective_scan.cases import SelectiveCase
from tests.ops import test_transforms, test_unseen_steps
from tests.ops.rows import check_gradients, check_values
from tests.ops.triton_interpreter import WHOLE, interpreted  # noqa: F401

#: Channels fill a block of four and begin another; N is and is not a power of two; a chunk of eight is cut off.
CASES = [
    SelectiveCase(2),
    SelectiveCase(17, has_reset=True, has_mask=True),
    SelectiveCase(8, 1, width=4, numbers=4, has_initial_state=False),
    SelectiveCase(9, 1, width=3, numbers=1, dtype="bfloat16", has_mask=True),
]


@pytest.fixture(autouse=True)
def prepare(interpreted, monkeypatch):  # noqa: F811
    interpreted(WHOLE, lanes=4)
    monkeypatch.setattr(triton_passes, "CHUNK", 8)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_values_and_gradients(case):
    check_values("selective_scan", "torch_triton", case)
    check_gradients("selective_scan", "torch_triton", case)


def arguments():
    return [torch.tensor(x.values, dtype=torch.float32, requires_grad=True) for x in SelectiveCase(9).arguments()]


def loss(*tensors):
    outputs, final_state = selective_scan(*tensors)
    return torch.sum(torch.sin(outputs)) + torch.sum(final_state)


def test_runs_give_the_same_bits_and_compilation_changes_none():
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    tensors = arguments()
    expected, *others = (torch.autograd.grad(function(*tensors), tensors) for function in (loss, loss, compiled))
    assert all(torch.equal(*pair) for other in others for pair in zip(expected, other, strict=True))


def test_the_operators_are_registered_as_pytorch_wants_them():
    torch.library.opcheck(torch_triton._selective_scan, (*arguments(), None))
    *selection, start = (x.detach() for x in arguments())
    outputs, state, starts = torch_triton._selective_scan(*selection, start, None)
    torch.library.opcheck(torch_triton._gradient, (*selection, starts, None, outputs, state))


def test_it_is_the_one_chosen_on_a_gpu():
    assert explain("selective_scan", (2, 17, 5), "bfloat16").chosen == "torch_triton"


# The interpreter computes in NumPy, which says where numbers overflow.
@pytest.mark.filterwarnings("ignore:(overflow|invalid value) encountered:RuntimeWarning")
def test_a_past_that_is_not_finite_is_forgotten(monkeypatch):
    monkeypatch.setattr(test_unseen_steps, "BATCH", 2)
    test_unseen_steps.test_selective_scan("torch_triton", 0.5)


def test_arguments_may_be_views():
    tensors = [x.detach() for x in arguments()]
    views = [x.transpose(0, 1).contiguous().transpose(0, 1) for x in tensors]
    for actual, expected in zip(selective_scan(*views), selective_scan(*tensors), strict=True):
        assert torch.equal(actual, expected) and np.all(np.isfinite(actual.numpy()))


def test_second_derivatives_are_those_of_the_loop(monkeypatch):
    monkeypatch.setattr(test_transforms, "DTYPE", torch.float32)
    test_transforms.check_second_derivative("selective_scan", "torch_triton")
