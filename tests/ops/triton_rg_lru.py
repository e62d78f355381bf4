"""What `test_torch_triton.py` runs in Triton's interpreter."""

import numpy as np
import pytest
import torch
import triton
from triton import language as tl

from keras_griffin.ops import explain, rg_lru
from keras_griffin.ops.recurrence.kernels import triton_passes
from keras_griffin.ops.rg_lru import torch_triton
from keras_griffin.ops.rg_lru.cases import UnitCase
from keras_griffin.ops.rg_lru.triton_kernels import cosine_and_sine, expm1
from tests.ops import test_transforms, test_unseen_steps
from tests.ops.rg_lru.test_torch_loop import arguments
from tests.ops.rows import check_gradients, check_values
from tests.ops.triton_interpreter import CUT, LENGTHS, WHOLE, interpreted, surround  # noqa: F401

MARKED = {"has_reset": True, "has_mask": True}
CASES = [
    (WHOLE, UnitCase(2, 3)),
    (WHOLE, UnitCase(65)),
    (WHOLE, UnitCase(9, 2, **MARKED)),
    (WHOLE, UnitCase(5, 2, dtype="bfloat16", has_initial_state=False)),
    (WHOLE, UnitCase(9, 2, is_complex=True, reverse=True, **MARKED)),
    (CUT, UnitCase(63)),
    (CUT, UnitCase(64, has_initial_state=False)),
    (CUT, UnitCase(23, reverse=True, **MARKED)),
    (CUT, UnitCase(17, 2, is_complex=True)),
    (CUT, UnitCase(17, is_complex=True, reverse=True, **MARKED)),
    (CUT, UnitCase(23, dtype="bfloat16", **MARKED)),
    (CUT, UnitCase(17, dtype="bfloat16", is_complex=True, has_initial_state=False)),
]


@pytest.fixture(autouse=True)
def prepare(interpreted):  # noqa: F811
    """By default, pieces of eight steps, and channels that fill a block and begin another."""
    interpreted(CUT, lanes=4)
    return interpreted


@pytest.mark.parametrize(("multiprocessors", "case"), CASES, ids=str)
def test_values_and_gradients(prepare, multiprocessors, case):
    prepare(multiprocessors)
    check_values("rg_lru", "torch_triton", case)
    check_gradients("rg_lru", "torch_triton", case)


def test_several_blocks_of_channels():
    check_gradients("rg_lru", "torch_triton", UnitCase(17, 2, has_mask=True))


@pytest.mark.parametrize("multiprocessors", [WHOLE, CUT])
@pytest.mark.parametrize("length", LENGTHS)
def test_groups_of_rows(prepare, monkeypatch, multiprocessors, length):
    prepare(multiprocessors)
    # Four rows forward and two backward.
    monkeypatch.setattr(triton_passes, "LOADS", 12)
    check = surround(monkeypatch)
    case = UnitCase(length, reverse=length % 2 == 0, **MARKED)
    check_values("rg_lru", "torch_triton", case)
    check_gradients("rg_lru", "torch_triton", case)
    check()


def test_a_long_sequence(prepare):
    prepare(CUT, 64)
    check_values("rg_lru", "torch_triton", UnitCase(200))
    check_gradients("rg_lru", "torch_triton", UnitCase(200))


def loss(*unit):
    return torch.sum(torch.sin(rg_lru(*unit)[0]))


def test_runs_give_the_same_bits_and_compilation_changes_none():
    unit = [arguments(False)[0][0], *arguments(False)[1:4]]
    results = [torch.autograd.grad(loss(*unit), unit) for _ in range(2)]
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    results.append(torch.autograd.grad(compiled(*unit), unit))
    assert all(torch.equal(*pair) for other in results[1:] for pair in zip(results[0], other, strict=True))


def test_an_exported_program_gives_the_same_bits():
    class Module(torch.nn.Module):
        def forward(self, *tensors):
            return rg_lru(*tensors)

    unit = tuple(tensor.detach() for tensor in (arguments(False)[0][0], *arguments(False)[1:4]))
    exported = torch.export.export(Module(), unit).module()
    assert all(map(torch.equal, exported(*unit), rg_lru(*unit)))


@pytest.mark.parametrize("is_complex", [False, True])
def test_the_operators_are_registered_as_pytorch_wants_them(is_complex):
    def short(tensor):
        return tensor[:, :3].detach().requires_grad_(tensor.requires_grad) if tensor.ndim == 3 else tensor

    inputs, *unit, phase, start, reset, mask = arguments(is_complex)
    inputs, unit, marks = [short(x) for x in inputs], [short(x) for x in unit], [short(reset), short(mask)]
    torch.library.opcheck(torch_triton._rg_lru, (inputs, *unit, phase, start, *marks, 8.0, False))
    inputs, start = ([x.detach() for x in number] for number in (inputs, start))
    unit, phase = [x.detach() for x in unit], phase.detach() if is_complex else None
    torch.library.opcheck(
        torch_triton._gradient, (inputs, *unit, phase, inputs, start, *marks, [*inputs, *start], 8.0, False)
    )


def test_it_is_the_one_chosen_on_a_gpu():
    assert explain("rg_lru", (2, 17, 5), "bfloat16").chosen == "torch_triton"


@triton.jit
def evaluate(array, cosine, sine, difference, BLOCK: tl.constexpr):
    places = tl.arange(0, BLOCK)
    x = tl.load(array + places)
    tl.store(difference + places, expm1(-tl.abs(x)))
    first, second = cosine_and_sine(x)
    tl.store(cosine + places, first)
    tl.store(sine + places, second)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 100.0, 5000.0])
def test_own_functions_are_as_precise_as_their_dtype(scale):
    array = scale * torch.linspace(-1.0, 1.0, 4096)
    results = [torch.full_like(array, np.nan) for _ in range(3)]
    evaluate[(1,)](array, *results, 4096)
    exact = array.double()
    expected = torch.cos(exact), torch.sin(exact), torch.expm1(-torch.abs(exact))
    for result, wanted in zip(results[:2], expected, strict=False):
        assert torch.max(torch.abs(result - wanted)) < 1.5e-7
    assert torch.max(torch.abs(results[2] - expected[2]) / torch.abs(expected[2])) < 5e-7


# The interpreter computes in NumPy, which says where numbers overflow.
@pytest.mark.filterwarnings("ignore:(overflow|invalid value) encountered:RuntimeWarning")
@pytest.mark.parametrize(("is_complex", "reverse"), [(False, False), (True, True)])
def test_a_past_that_is_not_finite_is_forgotten(prepare, monkeypatch, is_complex, reverse):
    prepare(CUT, 16)
    monkeypatch.setattr(test_unseen_steps, "BATCH", 2)
    test_unseen_steps.test_rg_lru("torch_triton", is_complex, reverse, 0.5)


@pytest.mark.parametrize("name", ["rg_lru", "complex rg_lru"])
def test_second_derivatives_are_those_of_the_loop(prepare, monkeypatch, name):
    prepare(WHOLE)
    monkeypatch.setattr(test_transforms, "DTYPE", torch.float32)
    test_transforms.check_second_derivative(name, "torch_triton")
