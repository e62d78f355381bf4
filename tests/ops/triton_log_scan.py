"""What `test_torch_triton.py` runs in Triton's interpreter."""

import pytest
import torch

from keras_griffin.ops import explain, log_scan
from keras_griffin.ops.linear_scan import torch_triton as scan
from keras_griffin.ops.log_scan import torch_triton
from keras_griffin.ops.log_scan.cases import LogCase
from tests.ops import test_transforms, test_unseen_steps
from tests.ops.rows import check_gradients, check_values
from tests.ops.triton_interpreter import CUT, LENGTHS, WHOLE, interpreted  # noqa: F401

MARKED = {"has_reset": True, "has_mask": True}
CASES = [
    (WHOLE, LogCase(2, 3)),
    (WHOLE, LogCase(33)),
    (WHOLE, LogCase(9, 2, **MARKED)),
    (WHOLE, LogCase(5, scale=1e4, has_reset=True)),
    (WHOLE, LogCase(5, 3, dtype="bfloat16", has_initial_state=False)),
    (CUT, LogCase(32, has_initial_state=False)),
    (CUT, LogCase(17, 2, strongest=100.0, has_mask=True)),
    (CUT, LogCase(33, **MARKED)),
    (CUT, LogCase(23, dtype="bfloat16", **MARKED)),
]


@pytest.fixture(autouse=True)
def prepare(interpreted):  # noqa: F811
    """By default, pieces of eight steps, and channels that fill a block and begin another."""
    interpreted([scan, torch_triton], CUT, lanes=4)
    return lambda *arguments: interpreted([scan, torch_triton], *arguments)


@pytest.mark.parametrize(("multiprocessors", "case"), CASES, ids=str)
def test_values_and_gradients(prepare, multiprocessors, case):
    prepare(multiprocessors)
    check_values("log_scan", "torch_triton", case)
    check_gradients("log_scan", "torch_triton", case)


@pytest.mark.parametrize("multiprocessors", [WHOLE, CUT])
@pytest.mark.parametrize("length", LENGTHS)
def test_groups_of_rows(prepare, monkeypatch, multiprocessors, length):
    prepare(multiprocessors)
    monkeypatch.setattr(scan, "LOADS", 8)
    check_values("log_scan", "torch_triton", LogCase(length, **MARKED))
    check_gradients("log_scan", "torch_triton", LogCase(length, **MARKED))


def arguments(length=17):
    generator = torch.Generator().manual_seed(0)
    shapes = (2, length, 5), (2, length, 5), (2, 5)
    return [torch.randn(shape, generator=generator).requires_grad_() for shape in shapes]


def loss(*tensors):
    """Of the states alone: nothing comes back to the final state."""
    return torch.sum(torch.sin(log_scan(*tensors)[0]))


def test_runs_give_the_same_bits_and_compilation_changes_none():
    tensors = arguments()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    results = [torch.autograd.grad(function(*tensors), tensors) for function in (loss, loss, compiled)]
    assert all(torch.equal(*pair) for other in results[1:] for pair in zip(results[0], other, strict=True))


def test_an_exported_program_gives_the_same_bits():
    class Module(torch.nn.Module):
        def forward(self, *tensors):
            return log_scan(*tensors)

    tensors = tuple(tensor.detach() for tensor in arguments())
    exported = torch.export.export(Module(), tensors).module()
    assert all(map(torch.equal, exported(*tensors), log_scan(*tensors)))


def test_what_comes_back_to_the_final_state_alone():
    tensors = arguments()
    from_final = torch.autograd.grad(log_scan(*tensors)[1].sum(), tensors)
    from_states = torch.autograd.grad(log_scan(*tensors)[0][:, -1].sum(), tensors)
    assert all(map(torch.equal, from_final, from_states))


@pytest.mark.parametrize("is_marked", [False, True])
def test_the_operators_are_registered_as_pytorch_wants_them(is_marked):
    tensors = arguments(3)
    marks = [torch.tensor([True, False, True]).expand(2, 3)[..., None] if is_marked else None] * 2
    torch.library.opcheck(torch_triton._log_scan, (*tensors, *marks, True))
    decay, inputs, start = (tensor.detach() for tensor in tensors)
    torch.library.opcheck(torch_triton._log_scan, (decay, inputs, start, *marks, False))
    torch.library.opcheck(torch_triton._gradient, (decay, *marks, inputs, start, torch.float32))


def test_it_is_the_one_chosen_on_a_gpu():
    assert explain("log_scan", (2, 17, 5), "bfloat16").chosen == "torch_triton"


# The interpreter computes in NumPy, which says where numbers overflow.
@pytest.mark.filterwarnings("ignore:(overflow|invalid value) encountered:RuntimeWarning")
def test_a_past_that_is_not_finite_is_forgotten(prepare, monkeypatch):
    prepare(CUT, 16)
    monkeypatch.setattr(test_unseen_steps, "BATCH", 2)
    test_unseen_steps.test_log_scan("torch_triton")


def test_second_derivatives_are_those_of_the_loop(prepare, monkeypatch):
    prepare(WHOLE)
    monkeypatch.setattr(test_transforms, "DTYPE", torch.float32)
    test_transforms.check_second_derivative("log_scan", "torch_triton")
