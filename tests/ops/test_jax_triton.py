"""JAX's kernels for NVIDIA's GPUs: run by Triton's interpreter, and compiled for a GPU that isn't there."""

import functools
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import keras
import pytest

if keras.backend.backend() != "jax":
    pytest.skip("JAX's way to Triton's kernels", allow_module_level=True)

import jax
from jax import numpy as jnp
from jax.sharding import AbstractMesh, NamedSharding, PartitionSpec

from keras_griffin.ops import explain, linear_scan, use_implementation
from keras_griffin.ops.linear_scan import jax_triton as scans
from keras_griffin.ops.recurrence.kernels import jax_triton_launch
from keras_griffin.ops.recurrence.marks import Marks
from keras_griffin.ops.rg_lru import jax_triton as units
from keras_griffin.ops.rg_lru.gates import GatedScanInputs
from keras_griffin.ops.selective_scan import jax_triton as selections
from keras_griffin.ops.selective_scan.inputs import SelectiveScanInputs

ROOT = Path(__file__).resolve().parent.parent.parent
OTHERS = ["linear_scan", "selective_scan"]
OPS = ["rg_lru", *OTHERS]
#: Dtype, components (for `selective_scan`, N), with marks.
CALLS = [("float32", 1, False), ("bfloat16", 1, True), ("bfloat16", 2, False)]
#: Prints what PyTorch launches for the calls of an op, forward and backward, in the words of `Launched`.
PYTORCH = """
import json, sys
import pytest, torch
from tests.ops.triton_compilation import TARGETS, forward_and_backward, program_of, recorded_launches

def parameters(value):
    if isinstance(value, tuple):
        return [parameter for part in value for parameter in parameters(part)]
    return [None] if isinstance(value, torch.Tensor) else [] if value in (None, 1) else [value]

for dtype, parts, marked in json.loads(sys.argv[2]):
    with pytest.MonkeyPatch.context() as patch:
        call = lambda: forward_and_backward(sys.argv[1], parts, getattr(torch, dtype), marked)
        launches = recorded_launches(patch, call, TARGETS["sm90"])
    programs = [program_of(launch, TARGETS["sm90"]) for launch in launches]
    print(json.dumps([
        (program.asm["ptx"], 1, program.metadata.shared, launch.programs, parameters(launch.arguments))
        for launch, program in zip(launches, programs)
    ]))
"""

needs_triton = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("triton", "torch"))), reason="Triton comes with PyTorch, which isn't there"
)
needs_jax_triton = pytest.mark.skipif(
    importlib.util.find_spec("jax_triton") is None, reason="jax-triton, in the extra gpu-check, isn't there"
)


class Launched(NamedTuple):
    """What a program of JAX tells a GPU to run."""

    ptx: str
    warps: int
    shared_bytes: int
    programs: int
    #: The sizes, and None for each array.
    parameters: list


@needs_triton
@pytest.mark.slow
def test_in_the_interpreter():
    from tests.ops.triton_interpreter import run_tests

    run_tests("tests/ops/jax_triton_scans.py")


@pytest.fixture
def launched(monkeypatch, tmp_path):
    """A list of what is lowered for an H100, filled by stand-ins for what only JAX's build for CUDA has."""
    from jax._src.lib import gpu_triton

    calls = []

    class Call:
        def __init__(self, kernel, programs, y, z, parameters):
            calls.append(Launched(*kernel, programs, parameters))
            assert (y, z) == (1, 1)

        def to_proto(self, name, metadata):
            return b""

    replaced = {
        "get_compute_capability": lambda device: 90,
        "get_serialized_metadata": None,
        "TritonKernel": lambda name, warps, ctas, shared_bytes, ptx, *others: (ptx, warps, shared_bytes),
        "TritonKernelCall": Call,
        "create_array_parameter": lambda zeroed_bytes, alignment: None,
        "create_scalar_parameter": lambda value, dtype: value,
    }
    for name, value in replaced.items():
        monkeypatch.setattr(gpu_triton, name, value, raising=False)
    monkeypatch.setattr(jax_triton_launch, "chip", lambda array: (132, 32))
    # jax-triton 0.3 empties it when it is imported.
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    import triton

    # It would name the function that JAX launches.
    monkeypatch.setattr(triton.knobs.compilation, "disable_line_info", True)
    return calls


def call_of(op_name, dtype, parts, marked):
    """An op as a function of tensors, and PyTorch's tensors in `forward_and_backward`."""
    array = jax.ShapeDtypeStruct
    sequence, state = array((2, 1024, 128), dtype), (array((2, 128), "float32"),) * parts
    if op_name == "selective_scan":
        weights, rates = array((2, 1024, parts), dtype), array((128, parts), "float32")
        marks = Marks(array((2, 1024, 1), "bool") if marked else None, None)
        tensors = SelectiveScanInputs(sequence, sequence, rates, weights, weights), array((2, 128, parts), "float32")
        return selections.selective_scan, tensors, {"marks": marks}
    marks = {"marks": Marks(*[array((2, 1024, 1), "bool") if marked else None] * 2)}
    if op_name == "linear_scan":
        number = (sequence,) * parts
        return functools.partial(scans.linear_scan, reverse=False), (number, number, state), marks
    channels = array((128,), "float32")
    unit = GatedScanInputs((sequence,) * parts, sequence, sequence, channels, channels if parts == 2 else None)
    return functools.partial(units.rg_lru, exponent=8.0, reverse=False), (unit, state), marks


def lower(function, *arguments):
    """The program for CUDA."""
    return jax.jit(function).trace(*arguments).lower(lowering_platforms=("cuda",)).as_text()


@needs_triton
@needs_jax_triton
@pytest.mark.parametrize("op_name", ["rg_lru", *(pytest.param(name, marks=pytest.mark.exhaustive) for name in OTHERS)])
@pytest.mark.slow
def test_jax_and_pytorch_launch_the_same_programs(op_name, launched):
    environment = {**os.environ, "KERAS_BACKEND": "torch", "TRITON_DISABLE_LINE_INFO": "1"}
    command = [sys.executable, "-c", PYTORCH, op_name, json.dumps(CALLS)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert run.returncode == 0, run.stderr
    for call, line in zip(CALLS, run.stdout.splitlines()[-len(CALLS) :], strict=True):
        function, tensors, marks = call_of(op_name, *call)

        def both(tensors, marks, function=function):
            results, pull_back = jax.vjp(lambda *tensors: function(*tensors, **marks), *tensors)
            return results, pull_back(results)

        launched.clear()
        lower(both, tensors, marks)
        expected = [Launched(*each) for each in json.loads(line)]
        assert len(expected) == (2 if op_name == "selective_scan" else 6)
        # JAX lowers equal calls once: the scan of the ends of pieces, forward and backward.
        assert launched == [each for i, each in enumerate(expected) if each not in expected[:i]]


@needs_jax_triton
@pytest.mark.parametrize("with_parameter", [False, True])
@pytest.mark.slow
def test_devices_need_not_talk_but_of_the_parameters_gradient(with_parameter, launched):
    mesh = AbstractMesh((2, 4), ("batch", "width"))
    sequence, state, channels = (
        PartitionSpec(*axes) for axes in (("batch", None, "width"), ("batch", "width"), ("width",))
    )

    def gradients(x, input_logits, recurrence_logits, parameter, start, weights):
        def states(parameter, x, input_logits, recurrence_logits, start):
            unit = GatedScanInputs((x,), input_logits, recurrence_logits, parameter, None)
            return units.rg_lru(unit, (start,), Marks(None, None), 8.0, False)[0][0]

        return jax.vjp(states, parameter, x, input_logits, recurrence_logits, start)[1](weights)[not with_parameter :]

    specs = (sequence, sequence, sequence, channels, state, sequence)
    outputs = (channels, sequence, sequence, sequence, state)[not with_parameter :]
    shapes = {sequence: (4, 512, 512), state: (4, 512), channels: (512,)}
    arguments = [jax.ShapeDtypeStruct(shapes[spec], "float32", sharding=NamedSharding(mesh, spec)) for spec in specs]
    with jax.sharding.use_abstract_mesh(mesh):
        program = lower(jax.shard_map(gradients, mesh=mesh, in_specs=specs, out_specs=outputs), *arguments)
    # Of two rows and 128 channels, in eight pieces each.
    assert [call.programs for call in launched[1:3]] == [8, 64]
    words = ("all_gather", "all_reduce", "all_to_all", "collective_permute", "reduce_scatter")
    assert [word for word in words for _ in range(program.count(word))] == ["all_reduce"] * with_parameter


@pytest.mark.parametrize(
    ("device", "version", "spec", "dtype", "reason"),
    [
        ("cpu", "cuda 13000", True, "float32", "needs a GPU"),
        ("gpu", "rocm 70000", True, "float32", "needs an NVIDIA GPU"),
        (
            *("gpu", "cuda 13000", None, "float32"),
            "needs jax-triton, which is not installed: pip install 'keras-griffin[jax-gpu]'",
        ),
        ("gpu", "cuda 13000", True, "float64", "computes in float32"),
        ("gpu", "cuda 13000", True, "bfloat16", "chosen: the first in order of preference"),
    ],
)
@pytest.mark.parametrize("op_name", OPS)
def test_it_says_why_it_can_not_serve_a_call(monkeypatch, op_name, device, version, spec, dtype, reason):
    monkeypatch.setattr("keras_griffin.backends.jax_backend.device_kind", lambda: device)
    monkeypatch.setattr(jax_triton_launch, "platform_version", lambda: version)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    explanation = explain(op_name, dtype=dtype)
    assert {verdict.name: verdict.reason for verdict in explanation.verdicts}["jax_triton"] == reason
    others = {"cpu": "jax_loop", "gpu": "portable" if op_name == "selective_scan" else "jax_associative"}
    assert explanation.chosen == ("jax_triton" if "chosen" in reason else others[device])


def test_asked_for_where_it_cant_run():
    with use_implementation("linear_scan", "jax_triton"):
        with pytest.raises(ValueError, match="'jax_triton' must support .* It needs a GPU"):
            linear_scan(jnp.ones((1, 4, 3)), jnp.ones((1, 4, 3)))
