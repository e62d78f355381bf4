"""The kernels in Triton: run by its interpreter, and compiled for GPUs that aren't there."""

import keras
import pytest

if keras.backend.backend() != "torch":
    pytest.skip("PyTorch's own kernels", allow_module_level=True)
pytest.importorskip("triton")

import torch

from keras_griffin.ops.selective_scan import torch_triton
from tests.ops.triton_compilation import TARGETS, compile_launch, recorded_launches
from tests.ops.triton_interpreter import run_tests


@pytest.mark.slow
def test_in_the_interpreter():
    run_tests("tests/ops/triton_selective_scan.py")


def forward_and_backward(numbers, dtype, has_reset):
    sequence, weights = torch.zeros(2, 1024, 128, dtype=dtype), torch.zeros(2, 1024, numbers, dtype=dtype)
    rates, state = torch.zeros(128, numbers), torch.zeros(2, 128, numbers)
    selection = sequence, sequence, rates, weights, weights
    reset = torch.zeros(2, 1024, dtype=torch.bool) if has_reset else None
    torch_triton._selective_scan(*selection, state, reset)
    torch_triton._gradient(*selection, torch.zeros(2, 32, numbers, 128), reset, sequence, state)


@pytest.mark.parametrize(
    ("target", "dtype", "has_reset"),
    [*((target, torch.bfloat16, True) for target in TARGETS), ("sm90", torch.float32, False)],
)
@pytest.mark.slow
def test_compiled_ahead_of_time(monkeypatch, target, dtype, has_reset):
    call = lambda: forward_and_backward(16, dtype, has_reset)  # noqa: E731
    launches = recorded_launches(monkeypatch, call, TARGETS[target])
    assert [launch.name for launch in launches] == ["selective_scan", "selective_scan_gradient"]
    for launch in launches:
        compiled = compile_launch(launch, TARGETS[target])
        # The state and everything that a step computes from it stay in registers.
        assert (compiled.spills, compiled.stack) == (0, 0)
