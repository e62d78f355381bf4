"""What `test_torch_triton.py` runs in Triton's interpreter."""

import numpy as np
import pytest
import torch

from keras_griffin.ops import explain, linear_scan
from keras_griffin.ops.linear_scan import torch_triton
from keras_griffin.ops.linear_scan.cases import ScanCase
from keras_griffin.ops.linear_scan.reference import definition
from keras_griffin.ops.recurrence.kernels import triton_passes
from keras_griffin.testing.closeness import assert_close
from tests.ops import test_transforms, test_unseen_steps
from tests.ops.rows import check_gradients, check_values
from tests.ops.triton_interpreter import CUT, LENGTHS, WHOLE, interpreted, surround  # noqa: F401

MARKED = {"has_reset": True, "has_mask": True}
CASES = [
    (WHOLE, ScanCase(2, 3)),
    (WHOLE, ScanCase(65, reverse=True)),
    (WHOLE, ScanCase(5, 3, has_reset=True)),
    (WHOLE, ScanCase(5, 3, has_mask=True)),
    (WHOLE, ScanCase(5, 3, dtype="bfloat16", has_initial_state=False)),
    (WHOLE, ScanCase(9, 2, is_complex=True, reverse=True, **MARKED)),
    (CUT, ScanCase(63)),
    (CUT, ScanCase(64, has_initial_state=False)),
    (CUT, ScanCase(65, reverse=True, **MARKED)),
    (CUT, ScanCase(17, 3, is_complex=True)),
    (CUT, ScanCase(33, is_complex=True, reverse=True, **MARKED)),
    (CUT, ScanCase(23, dtype="bfloat16", **MARKED)),
    (CUT, ScanCase(16, 2, dtype="bfloat16", is_complex=True, has_initial_state=False)),
]


@pytest.fixture(autouse=True)
def prepare(interpreted):  # noqa: F811
    """By default, pieces of eight steps, and channels that fill a block and begin another."""
    interpreted(CUT, lanes=4)
    return interpreted


@pytest.mark.parametrize(("multiprocessors", "case"), CASES, ids=str)
def test_values_and_gradients(prepare, multiprocessors, case):
    prepare(multiprocessors)
    check_values("linear_scan", "torch_triton", case)
    check_gradients("linear_scan", "torch_triton", case)


@pytest.mark.parametrize("multiprocessors", [WHOLE, CUT])
@pytest.mark.parametrize("length", LENGTHS)
def test_groups_of_rows(prepare, monkeypatch, multiprocessors, length):
    prepare(multiprocessors)
    # Four rows forward and two backward.
    monkeypatch.setattr(triton_passes, "LOADS", 8)
    check = surround(monkeypatch)
    case = ScanCase(length, reverse=length % 2 == 0, **MARKED)
    check_values("linear_scan", "torch_triton", case)
    check_gradients("linear_scan", "torch_triton", case)
    check()


def test_a_long_sequence(prepare):
    prepare(CUT, 64)
    check_values("linear_scan", "torch_triton", ScanCase(200))
    check_gradients("linear_scan", "torch_triton", ScanCase(200))


def arguments(parts=1, length=17):
    generator = torch.Generator().manual_seed(0)
    decay = 0.5 + 0.2 * torch.rand(2, length, 5, generator=generator)
    inputs, start = torch.randn(2, length, 5, generator=generator), torch.randn(2, 5, generator=generator)
    return [[tensor.requires_grad_()] * parts for tensor in (decay, inputs, start)]


def loss(decay, inputs, start):
    states, final_state = linear_scan(torch.sigmoid(decay), 2.0 * inputs, start)
    return torch.sum(states * inputs) + torch.sum(final_state)


def gradients(function):
    tensors = [number[0] for number in arguments()]
    return torch.autograd.grad(function(*tensors), tensors)


@pytest.mark.parametrize("parts", [1, 2])
def test_the_operators_are_registered_as_pytorch_wants_them(parts):
    decay, inputs, start = arguments(parts, length=3)
    marks = (None, None) if parts == 1 else [torch.tensor([True, False, True]).expand(2, 3)[..., None]] * 2
    torch.library.opcheck(torch_triton._linear_scan, (decay, inputs, start, *marks, False))
    numbers = [[tensor.detach() for tensor in number] for number in (decay, inputs, start)]
    torch.library.opcheck(torch_triton._gradient, (*numbers, *marks, [*numbers[1], *numbers[2]], False))


def test_runs_give_the_same_bits_and_compilation_changes_none():
    expected = gradients(loss)
    for function in (loss, torch.compile(loss, fullgraph=True, backend="aot_eager")):
        assert all(map(torch.equal, gradients(function), expected))


def test_an_exported_program_gives_the_same_bits():
    class Module(torch.nn.Module):
        def forward(self, *tensors):
            return linear_scan(*tensors)

    tensors = tuple(number[0].detach() for number in arguments())
    exported = torch.export.export(Module(), tensors).module()
    assert all(map(torch.equal, exported(*tensors), linear_scan(*tensors)))


def test_it_is_the_one_chosen_on_a_gpu():
    assert explain("linear_scan", (2, 17, 5), "bfloat16").chosen == "torch_triton"


def test_arguments_may_be_views():
    decay, inputs, start = (number[0].detach() for number in arguments())
    views = decay.transpose(0, 1).contiguous().transpose(0, 1), inputs[:1].expand(2, 17, 5), start[:1].expand(2, 5)
    assert_close(linear_scan(*views)[0], definition(*(view.numpy() for view in views))[0])


def test_float16_is_rounded_in_memory_alone():
    decay, inputs, start = (number[0].detach() for number in arguments())
    decay, inputs = decay.half(), inputs.half()
    states, final_state = linear_scan(decay, inputs, start)
    expected, last = definition(*(tensor.numpy() for tensor in (decay, inputs, start)))
    assert (states.dtype, final_state.dtype) == (torch.float16, torch.float32)
    # Rounded once to eleven bits: the table has no float16.
    assert_close(states.float(), expected, factor=100.0)
    assert_close(final_state, last)


def test_later_pieces_change_no_earlier_state():
    decay, inputs, start = (number[0].detach().clone() for number in arguments())
    expected, _ = linear_scan(decay, inputs, start)
    decay[:, 11:] = inputs[:, 11:] = np.nan
    states, _ = linear_scan(decay, inputs, start)
    assert torch.equal(states[:, :11], expected[:, :11]) and torch.all(torch.isnan(states[:, 11:]))


# The interpreter computes in NumPy, which says where numbers overflow.
@pytest.mark.filterwarnings("ignore:(overflow|invalid value) encountered:RuntimeWarning")
@pytest.mark.parametrize(("is_complex", "reverse"), [(False, False), (True, True)])
def test_a_past_that_is_not_finite_is_forgotten(prepare, monkeypatch, is_complex, reverse):
    prepare(CUT, 16)
    monkeypatch.setattr(test_unseen_steps, "BATCH", 2)
    test_unseen_steps.test_linear_scan("torch_triton", is_complex, reverse)


@pytest.mark.parametrize("name", ["linear_scan", "complex linear_scan"])
def test_second_derivatives_are_those_of_the_loop(prepare, monkeypatch, name):
    prepare(WHOLE)
    monkeypatch.setattr(test_transforms, "DTYPE", torch.float32)
    test_transforms.check_second_derivative(name, "torch_triton")
