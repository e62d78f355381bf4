"""The kernels in Triton: run by its interpreter, and compiled for GPUs that aren't there."""

import importlib.util

import keras
import pytest

if keras.backend.backend() != "torch":
    pytest.skip("PyTorch's own kernels", allow_module_level=True)
pytest.importorskip("triton")

import torch

from keras_griffin.ops import explain
from keras_griffin.ops.linear_scan import torch_triton
from keras_griffin.ops.recurrence.kernels import triton_passes
from tests.ops.gpu_assembly import Instruction, cycles, follow
from tests.ops.triton_compilation import STOPS, TARGETS, WHOLE, compile_launch, recorded_launches
from tests.ops.triton_interpreter import pretend, run_tests

#: Arrays that each kernel reads and writes in each row. Only the first pass over pieces of time is beside the minimum.
TRAFFIC = {"piece_ends": (2, 0), "scan": (2, 1), "scan_gradient": (3, 2)}
#: Each target with the kernels that need most registers; real ones on a few.
COMPILED = [
    *((target, 2, torch.bfloat16, True) for target in TARGETS),
    *((target, 1, torch.float32, False) for target in ("sm90", "gfx942")),
    *(("sm90", 1, dtype, False) for dtype in (torch.bfloat16, torch.float16)),
]


@pytest.mark.slow
def test_in_the_interpreter():
    run_tests("tests/ops/triton_linear_scan.py")


def forward_and_backward(parts, dtype, has_marks):
    def number(*shape, dtype=torch.float32):
        return [torch.zeros(shape, dtype=dtype)] * parts

    sequence, state = number(2, 1024, 128, dtype=dtype), number(2, 128)
    marks = [torch.zeros(2, 1024, 1, dtype=torch.bool) if has_marks else None] * 2
    torch_triton._linear_scan(sequence, sequence, state, *marks, False)
    torch_triton._gradient(sequence, sequence, state, *marks, [*sequence, *state], False)


@pytest.mark.parametrize(("target", "parts", "dtype", "has_marks"), COMPILED)
@pytest.mark.slow
def test_compiled_ahead_of_time(monkeypatch, target, parts, dtype, has_marks):
    call = lambda: forward_and_backward(parts, dtype, has_marks)  # noqa: E731
    launches = recorded_launches(monkeypatch, call, TARGETS[target])
    # Between a pass over pieces and the next stands the scan of their ends.
    assert [launch.name for launch in launches] == [
        *["piece_ends", "scan", "scan"],
        *["piece_ends", "scan", "scan_gradient"],
    ]
    for launch in launches:
        check(launch, parts, TARGETS[target])


@pytest.mark.parametrize(("target", "dtype", "has_marks"), WHOLE)
@pytest.mark.slow
def test_compiled_without_pieces_and_the_first_pass_over_pieces(monkeypatch, target, dtype, has_marks):
    call = lambda: forward_and_backward(1, dtype, has_marks)  # noqa: E731
    launches = recorded_launches(monkeypatch, call, TARGETS[target], 0)
    assert [launch.name for launch in launches] == ["scan", "scan_gradient"]
    of_pieces = recorded_launches(monkeypatch, call, TARGETS[target])
    for launch in [*launches, *(launch for launch in of_pieces if launch.name == "piece_ends")]:
        check(launch, 1, TARGETS[target])


def check(launch, parts, target):
    """No register is spilled; on NVIDIA, no array is read twice, and a warp seldom stops for memory."""
    compiled = compile_launch(launch, target)
    assert (compiled.spills, compiled.stack) == (0, 0)
    if compiled.loads is not None:
        loads, stores = (parts * arrays for arrays in TRAFFIC[launch.name])
        assert (compiled.loads, compiled.stores) == (loads + launch.has_marks, stores)
        assert compiled.stops <= STOPS[launch.name == "scan_gradient"]


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
@pytest.mark.parametrize("op_name", ["linear_scan", "rg_lru"])
def test_it_says_why_it_can_not_serve_a_call(monkeypatch, op_name, device, cuda, spec, dtype, reason):
    pretend(monkeypatch, device)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    verdicts = explain(op_name, dtype=dtype).verdicts
    assert {verdict.name: verdict.reason for verdict in verdicts}["torch_triton"] == reason
