"""The kernels in Triton: run by its interpreter, and compiled for GPUs that aren't there."""

import importlib.util

import keras
import pytest

if keras.backend.backend() != "torch":
    pytest.skip("PyTorch's own kernels", allow_module_level=True)
pytest.importorskip("triton")

import torch

from keras_griffin.ops import explain
from keras_griffin.ops.recurrence.kernels import triton_passes
from tests.ops.gpu_assembly import Instruction, cycles, follow
from tests.ops.triton_compilation import TARGETS, compile_launch, forward_and_backward, recorded_launches
from tests.ops.triton_interpreter import pretend, run_tests

OPS = ["linear_scan", "rg_lru", "selective_scan"]
#: What each kernel reads and writes in each row: numbers, of one or two components, and logits. Only the first pass
#: over pieces of time, forward and backward, is beside the minimum.
TRAFFIC = {
    "linear_scan": {
        ("piece_ends", False): ((2, 0), (0, 0)),
        ("scan", None): ((2, 0), (1, 0)),
        ("piece_ends", True): ((2, 0), (0, 0)),
        ("scan_gradient", None): ((3, 0), (2, 0)),
    },
    "rg_lru": {
        ("gated_piece_ends", False): ((1, 2), (0, 0)),
        ("gated_scan", None): ((1, 2), (1, 0)),
        ("gated_piece_ends", True): ((1, 1), (0, 0)),
        ("gated_scan_gradient", None): ((3, 2), (1, 2)),
    },
}
#: How often a warp may stop for memory in a group of rows: forward, and for a gradient.
STOPS = 1, 2
#: One of each maker, compiled whenever tests are run; the others need `--exhaustive`.
ALWAYS = ("sm90", "gfx942")


def targets(names, *case):
    """Parameters: a target, then the others of a case."""
    return [pytest.param(name, *case, marks=() if name in ALWAYS else pytest.mark.exhaustive) for name in names]


#: With the kernels that want most registers; real ones where there is time.
COMPILED = [
    *targets(TARGETS, 2, torch.bfloat16, True),
    *(("sm90", 1, dtype, False) for dtype in (torch.float32, torch.bfloat16)),
]
#: Of `linear_scan` alone.
MORE = [("gfx942", 1, torch.float32, False), ("sm90", 1, torch.float16, False)]


@pytest.mark.slow
@pytest.mark.parametrize("op_name", OPS)
def test_in_the_interpreter(op_name):
    run_tests("tests/ops/triton_kernels.py", "-k", op_name)


@pytest.mark.parametrize(("target", "parts", "dtype", "has_marks"), [*COMPILED, *MORE])
@pytest.mark.slow
def test_linear_scan_is_compiled_ahead_of_time(monkeypatch, target, parts, dtype, has_marks):
    assert_compiled(monkeypatch, "linear_scan", target, parts, dtype, has_marks)


@pytest.mark.parametrize(("target", "parts", "dtype", "has_marks"), COMPILED)
@pytest.mark.slow
def test_rg_lru_is_compiled_ahead_of_time(monkeypatch, target, parts, dtype, has_marks):
    assert_compiled(monkeypatch, "rg_lru", target, parts, dtype, has_marks)


def assert_compiled(monkeypatch, op_name, target, parts, dtype, has_marks):
    call = lambda: forward_and_backward(op_name, parts, dtype, has_marks)  # noqa: E731
    launches = recorded_launches(monkeypatch, call, TARGETS[target])
    # Between a pass over pieces and the next stands the scan of their ends.
    ends, last, ends_back, last_back = TRAFFIC[op_name]
    between = "scan", None
    assert [key_of(launch) for launch in launches] == [ends, between, last, ends_back, between, last_back]
    for launch in launches:
        if op_name == "linear_scan" or key_of(launch) != between:
            check(launch, TRAFFIC[op_name][key_of(launch)], parts, TARGETS[target])


@pytest.mark.parametrize("op_name", TRAFFIC)
@pytest.mark.parametrize("target", targets(("sm80", "sm90", "sm100")))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("has_marks", [False, True])
@pytest.mark.slow
def test_compiled_without_pieces_and_the_first_pass_over_pieces(monkeypatch, op_name, target, dtype, has_marks):
    call = lambda: forward_and_backward(op_name, 1, dtype, has_marks)  # noqa: E731
    launches = recorded_launches(monkeypatch, call, TARGETS[target], 0)
    ends, last, ends_back, last_back = TRAFFIC[op_name]
    assert [key_of(launch) for launch in launches] == [last, last_back]
    of_pieces = recorded_launches(monkeypatch, call, TARGETS[target])
    for launch in [*launches, *(launch for launch in of_pieces if key_of(launch) in (ends, ends_back))]:
        check(launch, TRAFFIC[op_name][key_of(launch)], 1, TARGETS[target])


def key_of(launch):
    return launch.name, launch.options.get("GRADIENT")


def check(launch, traffic, parts, target):
    """No register is spilled; on NVIDIA, no array is read twice, and a warp seldom stops for memory."""
    compiled = compile_launch(launch, target)
    assert (compiled.spills, compiled.stack) == (0, 0)
    if compiled.loads is not None:
        loads, stores = (parts * numbers + logits for numbers, logits in traffic)
        assert (compiled.loads, compiled.stores) == (loads + launch.has_marks, stores)
        assert compiled.stops <= STOPS[launch.name.endswith("scan_gradient")]


@pytest.mark.parametrize(
    ("target", "dtype", "has_reset"),
    [*targets(TARGETS, torch.bfloat16, True), ("sm90", torch.float32, False)],
)
@pytest.mark.slow
def test_a_state_of_sixteen_numbers_stays_in_registers(monkeypatch, target, dtype, has_reset):
    call = lambda: forward_and_backward("selective_scan", 16, dtype, has_reset)  # noqa: E731
    launches = recorded_launches(monkeypatch, call, TARGETS[target])
    assert [launch.name for launch in launches] == ["selective_scan", "selective_scan_gradient"]
    for launch in launches:
        compiled = compile_launch(launch, TARGETS[target])
        assert (compiled.spills, compiled.stack) == (0, 0)


def load(scoreboard):
    return Instruction(0, "LDG.E", "R0, [R2]", 1, scoreboard, None, ())


def use(scoreboard):
    return Instruction(0, "FADD", "R0, R0, R0", 4, None, None, (scoreboard,))


@pytest.mark.parametrize(
    ("loop", "stops", "on_the_way", "time"),
    [
        # A stop waits for all loads before it.
        ([load(0), load(1), use(0), use(1)], 1, 2, 108),
        ([load(0), use(0), load(1), use(1)], 2, 1, 208),
        # Loaded in one turn and used in the next.
        ([use(0), load(0), use(5), use(5)], 1, 1, 104),
        ([use(5)], 0, 0, 4),
    ],
)
def test_a_warp_stops_where_it_needs_what_is_being_loaded(loop, stops, on_the_way, time):
    followed = follow(loop)
    assert (followed.stops, followed.on_the_way, cycles(loop, 100)) == (stops, on_the_way, time)


@pytest.mark.parametrize(
    ("batch_size", "length", "width", "multiprocessors", "expected"),
    [
        # 640 programs of 32 channels, and 1056 would keep 132 multiprocessors busy.
        (8, 2048, 2560, 132, 2048),
        # 80 programs: thirteen pieces.
        (1, 2048, 2560, 132, 160),
        # 8 programs: as many pieces as 64 steps allow.
        (1, 1024, 256, 132, 64),
        (1, 127, 256, 132, 127),
        (1, 2048, 2560, 8, 2048),
        # 264 programs, two for each multiprocessor; with one fewer, four pieces.
        (8, 2048, 33 * 32, 132, 2048),
        (1, 2048, 263 * 32, 132, 512),
        (0, 1000, 5, 132, 72),
        (3, 2, 5, 132, 2),
    ],
)
def test_time_is_cut_where_there_are_few_programs(batch_size, length, width, multiprocessors, expected):
    assert triton_passes.steps_of_a_piece(batch_size, length, width, 32, multiprocessors) == expected


@pytest.mark.parametrize("length", [2, 64, 128, 1000, 1001, 16384])
@pytest.mark.parametrize("width", [1, 500, 5000])
def test_pieces_are_long_enough_and_all_but_the_last_whole(length, width):
    steps = triton_passes.steps_of_a_piece(1, length, width, 32, 132)
    assert steps == length or (steps >= triton_passes.SHORTEST_PIECE and steps % triton_passes.STEPS == 0)


@pytest.mark.parametrize(
    ("steps", "numbers", "rows"), [(2048, 2, 24), (2048, 3, 16), (23, 2, 16), (5, 2, 4), (1, 8, 1), (100, 8, 4)]
)
def test_a_group_is_no_longer_than_a_piece_and_fits_the_registers(steps, numbers, rows):
    assert triton_passes.rows_of(steps, numbers) == rows


@pytest.mark.parametrize(
    ("device", "cuda", "spec", "dtype", "reason"),
    [
        ("cpu", "13.0", True, "float32", "needs a GPU"),
        ("gpu", None, True, "float32", "needs PyTorch for CUDA or ROCm"),
        ("gpu", "13.0", None, "float32", "needs Triton, which is not installed"),
        ("gpu", "13.0", True, "float64", "computes in float32"),
        ("gpu", "13.0", True, "bfloat16", "chosen: the first in order of preference"),
    ],
)
@pytest.mark.parametrize("op_name", OPS)
def test_it_says_why_it_can_not_serve_a_call(monkeypatch, op_name, device, cuda, spec, dtype, reason):
    pretend(monkeypatch, device)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    verdicts = explain(op_name, dtype=dtype).verdicts
    assert {verdict.name: verdict.reason for verdict in verdicts}["torch_triton"] == reason
