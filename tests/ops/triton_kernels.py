"""What `test_torch_triton.py` runs in Triton's interpreter, for each op by its name."""

import numpy as np
import pytest
import torch
import triton
from triton import language as tl

from keras_griffin.ops import linear_scan, rg_lru, selective_scan, use_implementation
from keras_griffin.ops.linear_scan import torch_triton as scans
from keras_griffin.ops.linear_scan.cases import ScanCase
from keras_griffin.ops.linear_scan.reference import definition
from keras_griffin.ops.recurrence.kernels import triton_passes
from keras_griffin.ops.rg_lru import torch_triton as units
from keras_griffin.ops.rg_lru.cases import UnitCase
from keras_griffin.ops.rg_lru.triton_kernels import cosine_and_sine, expm1
from keras_griffin.ops.selective_scan import torch_triton as selections
from keras_griffin.ops.selective_scan import triton_passes as selective_passes
from keras_griffin.ops.selective_scan.cases import SelectiveCase
from keras_griffin.testing.closeness import assert_close
from tests.ops import test_transforms, test_unseen_steps
from tests.ops.rows import check_gradients, check_values
from tests.ops.torch_operators import check_operators
from tests.ops.triton_interpreter import CUT, LENGTHS, WHOLE, interpreted, surround  # noqa: F401

OPS = {"linear_scan": linear_scan, "rg_lru": rg_lru, "selective_scan": selective_scan}
MARKED = {"has_reset": True, "has_mask": True}
CASES = [
    ("linear_scan", WHOLE, ScanCase(2, 3)),
    ("linear_scan", WHOLE, ScanCase(65, reverse=True)),
    ("linear_scan", WHOLE, ScanCase(5, 3, has_reset=True)),
    ("linear_scan", WHOLE, ScanCase(5, 3, has_mask=True)),
    ("linear_scan", WHOLE, ScanCase(5, 3, dtype="bfloat16", has_initial_state=False)),
    ("linear_scan", WHOLE, ScanCase(9, 2, is_complex=True, reverse=True, **MARKED)),
    ("linear_scan", CUT, ScanCase(63)),
    ("linear_scan", CUT, ScanCase(64, has_initial_state=False)),
    ("linear_scan", CUT, ScanCase(65, reverse=True, **MARKED)),
    ("linear_scan", CUT, ScanCase(17, 3, is_complex=True)),
    ("linear_scan", CUT, ScanCase(33, is_complex=True, reverse=True, **MARKED)),
    ("linear_scan", CUT, ScanCase(23, dtype="bfloat16", **MARKED)),
    ("linear_scan", CUT, ScanCase(16, 2, dtype="bfloat16", is_complex=True, has_initial_state=False)),
    ("rg_lru", WHOLE, UnitCase(2, 3)),
    ("rg_lru", WHOLE, UnitCase(65)),
    ("rg_lru", WHOLE, UnitCase(9, 2, **MARKED)),
    ("rg_lru", WHOLE, UnitCase(5, 2, dtype="bfloat16", has_initial_state=False)),
    ("rg_lru", WHOLE, UnitCase(9, 2, is_complex=True, reverse=True, **MARKED)),
    ("rg_lru", CUT, UnitCase(63)),
    ("rg_lru", CUT, UnitCase(64, has_initial_state=False)),
    ("rg_lru", CUT, UnitCase(23, reverse=True, **MARKED)),
    ("rg_lru", CUT, UnitCase(17, 2, is_complex=True)),
    ("rg_lru", CUT, UnitCase(17, is_complex=True, reverse=True, **MARKED)),
    ("rg_lru", CUT, UnitCase(23, dtype="bfloat16", **MARKED)),
    ("rg_lru", CUT, UnitCase(17, dtype="bfloat16", is_complex=True, has_initial_state=False)),
    # Channels fill a block of four and begin another; N is and is not a power of two; a chunk of eight is cut off.
    ("selective_scan", WHOLE, SelectiveCase(2)),
    ("selective_scan", WHOLE, SelectiveCase(17, **MARKED)),
    ("selective_scan", WHOLE, SelectiveCase(8, 1, width=4, numbers=4, has_initial_state=False)),
    ("selective_scan", WHOLE, SelectiveCase(9, 1, width=3, numbers=1, dtype="bfloat16", has_mask=True)),
]
#: With these loads, a group is of four rows forward and of two backward.
LOADS = {"linear_scan": (ScanCase, 8), "rg_lru": (UnitCase, 12)}

every_op = pytest.mark.parametrize("op_name", OPS)


@pytest.fixture(autouse=True)
def prepare(interpreted, monkeypatch):  # noqa: F811
    """By default, pieces and chunks of eight steps, and channels that fill a block and begin another."""
    interpreted(CUT, lanes=4)
    monkeypatch.setattr(selective_passes, "CHUNK", 8)
    return interpreted


def check(op_name, case):
    check_values(op_name, "torch_triton", case)
    check_gradients(op_name, "torch_triton", case)


@pytest.mark.parametrize(("op_name", "multiprocessors", "case"), CASES, ids=str)
def test_values_and_gradients(prepare, op_name, multiprocessors, case):
    prepare(multiprocessors, lanes=4 if op_name == "selective_scan" else 32)
    check(op_name, case)


@pytest.mark.parametrize("op_name", LOADS)
@pytest.mark.parametrize("multiprocessors", [WHOLE, CUT])
@pytest.mark.parametrize("length", LENGTHS)
def test_groups_of_rows(prepare, monkeypatch, op_name, multiprocessors, length):
    prepare(multiprocessors)
    case_of, loads = LOADS[op_name]
    monkeypatch.setattr(triton_passes, "LOADS", loads)
    check_memory = surround(monkeypatch)
    check(op_name, case_of(length, reverse=length % 2 == 0, **MARKED))
    check_memory()


@pytest.mark.parametrize(("op_name", "case"), [("linear_scan", ScanCase(200)), ("rg_lru", UnitCase(200))], ids=str)
def test_a_long_sequence(prepare, op_name, case):
    prepare(CUT, 64)
    check(op_name, case)


@pytest.mark.parametrize("op_name", ["rg_lru"])
def test_several_blocks_of_channels(op_name):
    check_gradients(op_name, "torch_triton", UnitCase(17, 2, has_mask=True))


def arguments(op_name):
    """Short sequences and a state, for a call without options."""
    case = {"linear_scan": ScanCase(17, 2), "rg_lru": UnitCase(17, 2), "selective_scan": SelectiveCase(9)}[op_name]
    return [torch.tensor(x.values, dtype=torch.float32, requires_grad=True) for x in case.arguments()]


@every_op
def test_runs_give_the_same_bits_and_compilation_changes_none(op_name):
    def loss(*tensors):
        outputs, final_state = OPS[op_name](*tensors)
        return torch.sum(torch.sin(outputs)) + torch.sum(final_state)

    compiled, tensors = torch.compile(loss, fullgraph=True, backend="aot_eager"), arguments(op_name)
    expected, *others = (torch.autograd.grad(function(*tensors), tensors) for function in (loss, loss, compiled))
    assert all(torch.equal(*pair) for other in others for pair in zip(expected, other, strict=True))


@every_op
def test_an_exported_program_that_requests_them_gives_the_same_bits(op_name):
    class Module(torch.nn.Module):
        def forward(self, *tensors):
            return OPS[op_name](*tensors)

    tensors = tuple(x.detach() for x in arguments(op_name))
    with use_implementation(op_name, "torch_triton"):
        exported = torch.export.export(Module(), tensors).module()
    assert all(map(torch.equal, exported(*tensors), OPS[op_name](*tensors)))


@every_op
def test_arguments_may_be_views(op_name):
    tensors = [x.detach() for x in arguments(op_name)]
    views = [x.transpose(0, 1).contiguous().transpose(0, 1) if x.ndim > 1 else x for x in tensors]
    assert any(not x.is_contiguous() for x in views)
    for actual, expected in zip(OPS[op_name](*views), OPS[op_name](*tensors), strict=True):
        assert torch.equal(actual, expected) and np.all(np.isfinite(actual.numpy()))


@pytest.mark.parametrize("op_name", ["rg_lru", "selective_scan"])
def test_the_operators_are_registered_as_pytorch_wants_them(op_name):
    check_operators(op_name, {"rg_lru": units, "selective_scan": selections}[op_name])


@pytest.mark.parametrize("parts", [1, 2])
def test_the_operators_of_linear_scan_are_registered_as_pytorch_wants_them(parts):
    cut = [(x[:, :3] if x.ndim == 3 else x).detach().clone() for x in arguments("linear_scan")]
    decay, inputs, start = ([x.requires_grad_()] * parts for x in cut)
    marks = (None, None) if parts == 1 else [torch.tensor([True, False, True]).expand(2, 3)[..., None]] * 2
    torch.library.opcheck(scans._linear_scan, (decay, inputs, start, *marks, False))
    numbers = [[tensor.detach() for tensor in number] for number in (decay, inputs, start)]
    torch.library.opcheck(scans._gradient, (*numbers, *marks, [*numbers[1], *numbers[2]], False))


@pytest.mark.parametrize("op_name", ["linear_scan"])
def test_float16_is_rounded_in_memory_alone(op_name):
    decay, inputs, start = (x.detach() for x in arguments(op_name))
    decay, inputs = decay.half(), inputs.half()
    states, final_state = linear_scan(decay, inputs, start)
    expected, last = definition(*(tensor.numpy() for tensor in (decay, inputs, start)))
    assert (states.dtype, final_state.dtype) == (torch.float16, torch.float32)
    # Rounded once to eleven bits: the table has no float16.
    assert_close(states.float(), expected, factor=100.0)
    assert_close(final_state, last)


@pytest.mark.parametrize("op_name", ["linear_scan"])
def test_later_pieces_change_no_earlier_state(op_name):
    decay, inputs, start = (x.detach().clone() for x in arguments(op_name))
    expected, _ = linear_scan(decay, inputs, start)
    decay[:, 11:] = inputs[:, 11:] = np.nan
    states, _ = linear_scan(decay, inputs, start)
    assert torch.equal(states[:, :11], expected[:, :11]) and torch.all(torch.isnan(states[:, 11:]))


# The interpreter computes in NumPy, which says where numbers overflow.
@pytest.mark.filterwarnings("ignore:(overflow|invalid value) encountered:RuntimeWarning")
@pytest.mark.parametrize(
    ("op_name", "options"),
    [*((name, {}) for name in OPS), *((name, {"is_complex": True, "reverse": True}) for name in LOADS)],
)
def test_a_past_that_is_not_finite_is_forgotten(prepare, monkeypatch, op_name, options):
    if op_name != "selective_scan":
        prepare(CUT, 16)
    monkeypatch.setattr(test_unseen_steps, "BATCH", 2)
    test_unseen_steps.test_scan(op_name, "torch_triton", options)


@pytest.mark.parametrize("name", ["linear_scan", "complex linear_scan", "rg_lru", "complex rg_lru", "selective_scan"])
def test_second_derivatives_are_those_of_the_loop(prepare, monkeypatch, name):
    if name != "selective_scan":
        prepare(WHOLE)
    monkeypatch.setattr(test_transforms, "DTYPE", torch.float32)
    test_transforms.check_second_derivative(name, "torch_triton")


@triton.jit
def evaluate(array, cosine, sine, difference, BLOCK: tl.constexpr):
    places = tl.arange(0, BLOCK)
    x = tl.load(array + places)
    tl.store(difference + places, expm1(-tl.abs(x)))
    first, second = cosine_and_sine(x)
    tl.store(cosine + places, first)
    tl.store(sine + places, second)


@pytest.mark.parametrize("op_name", ["rg_lru"])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 100.0, 5000.0])
def test_own_functions_are_as_precise_as_their_dtype(op_name, scale):
    array = scale * torch.linspace(-1.0, 1.0, 4096)
    results = [torch.full_like(array, np.nan) for _ in range(3)]
    evaluate[(1,)](array, *results, 4096)
    exact = array.double()
    expected = torch.cos(exact), torch.sin(exact), torch.expm1(-torch.abs(exact))
    for result, wanted in zip(results[:2], expected, strict=False):
        assert torch.max(torch.abs(result - wanted)) < 1.5e-7
    assert torch.max(torch.abs(results[2] - expected[2]) / torch.abs(expected[2])) < 5e-7
