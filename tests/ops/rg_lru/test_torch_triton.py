"""The kernels in Triton: run by its interpreter, and compiled for GPUs that aren't there."""

import keras
import pytest

if keras.backend.backend() != "torch":
    pytest.skip("PyTorch's own kernels", allow_module_level=True)
pytest.importorskip("triton")

import torch

from keras_griffin.ops.rg_lru import torch_triton
from tests.ops.triton_compilation import STOPS, TARGETS, WHOLE, compile_launch, recorded_launches
from tests.ops.triton_interpreter import run_tests

#: Arrays that each kernel reads and writes in each row: numbers, of one or two components, and logits. Only the first
#: pass over pieces of time, forward and backward, is beside the minimum.
TRAFFIC = {
    ("gated_piece_ends", False): ((1, 0), (2, 0)),
    ("gated_scan", None): ((1, 1), (2, 0)),
    ("gated_piece_ends", True): ((1, 0), (1, 0)),
    ("gated_scan_gradient", None): ((3, 1), (2, 2)),
}
#: Each target with the kernels that want most registers; real ones where there is time.
COMPILED = [
    *((target, 2, torch.bfloat16, True) for target in TARGETS),
    ("sm90", 1, torch.float32, False),
    ("sm90", 1, torch.bfloat16, False),
]


@pytest.mark.slow
def test_in_the_interpreter():
    run_tests("tests/ops/triton_rg_lru.py")


def forward_and_backward(parts, dtype, has_marks):
    array, state, channels = torch.zeros(2, 1024, 128, dtype=dtype), [torch.zeros(2, 128)] * parts, torch.zeros(128)
    unit = [array] * parts, array, array, channels, channels if parts == 2 else None
    marks = [torch.zeros(2, 1024, 1, dtype=torch.bool) if has_marks else None] * 2
    torch_triton._rg_lru(*unit, state, *marks, 8.0, False)
    torch_triton._gradient(*unit, [array] * parts, state, *marks, [*[array] * parts, *state], 8.0, False)


@pytest.mark.parametrize(("target", "parts", "dtype", "has_marks"), COMPILED)
@pytest.mark.slow
def test_compiled_ahead_of_time(monkeypatch, target, parts, dtype, has_marks):
    call = lambda: forward_and_backward(parts, dtype, has_marks)  # noqa: E731
    launches = recorded_launches(monkeypatch, call, TARGETS[target])
    # The scans of the ends of pieces are those of `linear_scan`.
    launches = [launch for launch in launches if launch.name != "scan"]
    keys = [(launch.name, launch.options.get("GRADIENT")) for launch in launches]
    assert keys == list(TRAFFIC)
    for launch, key in zip(launches, keys, strict=True):
        check(launch, key, parts, TARGETS[target])


@pytest.mark.parametrize(("target", "dtype", "has_marks"), WHOLE)
@pytest.mark.slow
def test_compiled_without_pieces_and_the_first_pass_over_pieces(monkeypatch, target, dtype, has_marks):
    call = lambda: forward_and_backward(1, dtype, has_marks)  # noqa: E731
    launches = recorded_launches(monkeypatch, call, TARGETS[target], 0)
    assert [launch.name for launch in launches] == ["gated_scan", "gated_scan_gradient"]
    of_pieces = recorded_launches(monkeypatch, call, TARGETS[target])
    for launch in [*launches, *(launch for launch in of_pieces if launch.name == "gated_piece_ends")]:
        check(launch, (launch.name, launch.options.get("GRADIENT")), 1, TARGETS[target])


def check(launch, key, parts, target):
    """No register is spilled; on NVIDIA, no array is read twice, and a warp seldom stops for memory."""
    compiled = compile_launch(launch, target)
    assert (compiled.spills, compiled.stack) == (0, 0)
    if compiled.loads is not None:
        loads, stores = (parts * number + logits for number, logits in zip(*TRAFFIC[key], strict=True))
        assert (compiled.loads, compiled.stores) == (loads + launch.has_marks, stores)
        assert compiled.stops <= STOPS[launch.name == "gated_scan_gradient"]
