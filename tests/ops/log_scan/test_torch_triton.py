"""The kernels in Triton: run by its interpreter, and compiled for GPUs that aren't there."""

import keras
import pytest

if keras.backend.backend() != "torch":
    pytest.skip("PyTorch's own kernels", allow_module_level=True)
pytest.importorskip("triton")

import torch

from keras_griffin.ops.linear_scan import torch_triton as scan
from keras_griffin.ops.log_scan import torch_triton
from tests.ops.triton_compilation import STOPS, TARGETS, compile_launch, recorded_launches
from tests.ops.triton_interpreter import run_tests

#: Arrays that each kernel reads and writes in each row, by the launches in their order. Only the first pass over pieces
#: of time, forward and backward, is beside the minimum.
TRAFFIC = [
    ("log_piece_ends", (2, 0)),
    ("log_scan", (2, 1)),
    ("log_scan", (2, 2)),
    ("log_gradient_ends", (2, 0)),
    ("scan", (2, 1)),
    ("log_scan_gradient", (2, 2)),
]
#: The walk is that of `linear_scan`, which is compiled for every target with every dtype and marks.
COMPILED = [(target, torch.bfloat16, True) for target in ("sm80", "sm90", "sm100")] + [("sm90", torch.float32, False)]


@pytest.mark.slow
def test_in_the_interpreter():
    run_tests("tests/ops/triton_log_scan.py")


def forward_and_backward(dtype, has_marks):
    array, state = torch.zeros(2, 1024, 128, dtype=dtype), torch.zeros(2, 128)
    marks = [torch.zeros(2, 1024, 1, dtype=torch.bool) if has_marks else None] * 2
    odds = torch_triton._log_scan(array, array, state, *marks, True)[2]
    torch_triton._gradient(odds, *marks, array, state, dtype)


@pytest.mark.parametrize(("target", "dtype", "has_marks"), COMPILED)
@pytest.mark.slow
def test_compiled_ahead_of_time(monkeypatch, target, dtype, has_marks):
    call = lambda: forward_and_backward(dtype, has_marks)  # noqa: E731
    launches = recorded_launches(monkeypatch, [scan, torch_triton], call, TARGETS[target])
    assert [launch.name for launch in launches] == [name for name, _ in TRAFFIC]
    for launch, (name, (loads, stores)) in zip(launches, TRAFFIC, strict=True):
        if name == "scan":
            # That of `linear_scan`.
            continue
        compiled = compile_launch(launch, TARGETS[target])
        assert (compiled.spills, compiled.stack) == (0, 0)
        if compiled.loads is not None:
            assert (compiled.loads, compiled.stores) == (loads + has_marks, stores)
            assert compiled.stops <= STOPS[name == "log_scan_gradient"]
