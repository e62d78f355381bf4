"""What only GPUs ask of the kernels, compiled for some that aren't there. Most numbers: `test_rows.py`."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import keras
import pytest

if keras.backend.backend() != "jax":
    pytest.skip("a kernel of JAX's", allow_module_level=True)

import jax
from jax import numpy as jnp
from jax.extend.mlir import ir
from jax.interpreters import mlir

from keras_griffin.ops import explain, linear_scan, use_implementation
from keras_griffin.ops.implementation import Facts
from keras_griffin.ops.linear_scan import jax_pallas_gpu, jax_pallas_gpu_blocks
from keras_griffin.ops.linear_scan.cases import ScanCase
from keras_griffin.ops.linear_scan.marks import Marks
from tests.ops.rows import check_gradients, check_values

ROOT = Path(__file__).resolve().parent.parent.parent.parent
ROWS = jax_pallas_gpu_blocks.ROWS
#: Arrays that each kernel reads and writes in each row. Only the first pass over pieces of time is beside the minimum.
TRAFFIC = {
    "linear_scan_pieces": (2, 0),
    "linear_scan_starts": (2, 1),
    "linear_scan": (2, 1),
    "linear_scan_gradient_pieces": (2, 0),
    "linear_scan_gradient_starts": (2, 1),
    "linear_scan_gradient": (3, 2),
}
CASES = [
    ScanCase(71, 2, reverse=True, has_reset=True, has_mask=True),
    ScanCase(13, dtype="bfloat16", is_complex=True, has_mask=True, has_initial_state=False),
]
#: GPU, components, dtype, with marks.
COMPILED = [
    ("sm90", 1, "float32", False),
    ("sm90", 2, "bfloat16", True),
    ("gfx942", 1, "bfloat16", True),
]
CALL = "__gpu$xla.gpu.triton"


class Kernel(NamedTuple):
    """A kernel in a program for GPUs."""

    name: str
    #: In Triton's language of tensors.
    text: str
    warps: int
    stages: int


def lowered(function, arguments, platform, mesh=None):
    """The program for a GPU, as far as JAX makes one without it: up to Triton's compiler."""
    with jax.sharding.use_abstract_mesh(mesh or mesh_of_h100()):
        return jax.jit(function).trace(*arguments).lower(lowering_platforms=(platform,)).as_text()


def mesh_of_h100(sizes=(), names=()):
    """A mesh of GPUs that are not there; inside it Pallas finds one, for which it looks from JAX 0.12 on."""
    if jax.__version_info__ < (0, 12):
        return jax.sharding.AbstractMesh(sizes, names)
    device = jax.sharding.AbstractDevice("NVIDIA H100 80GB HBM3", num_cores=132, platform="gpu")
    return jax.sharding.AbstractMesh(sizes, names, abstract_device=device)


def kernels_of(program):
    """The kernels in a program, in order."""
    # No public name reads Triton's language.
    from jax._src.pallas.triton.lowering import _new_ir_context

    found = []

    def visit(operation):
        attributes = operation.attributes
        if operation.name == "stablehlo.custom_call" and ir.StringAttr(attributes["call_target_name"]).value == CALL:
            found.append(attributes["mhlo.backend_config" if "mhlo.backend_config" in attributes else "backend_config"])
        return ir.WalkResult.ADVANCE

    module = ir.Module.parse(program, context=mlir.make_ir_context())
    module.operation.walk(visit)
    kernels = []
    for config in found:
        number = lambda key, config=config: ir.IntegerAttr(config[key]).value  # noqa: E731
        with _new_ir_context():
            text = str(ir.Module.parse(ir.StringAttr(config["ir"]).value_bytes))
        kernels.append(Kernel(ir.StringAttr(config["name"]).value, text, number("num_warps"), number("num_stages")))
    return kernels


#: Compiles files of Triton's language and prints what `tests/ops/triton_compilation.py` says of each.
COMPILATION = """
import json, sys
import triton
from tests.ops.triton_compilation import TARGETS, _on_amd, _on_nvidia
target, rows, kernels = TARGETS[sys.argv[1]], int(sys.argv[2]), json.loads(sys.argv[3])
for path, warps, stages in kernels:
    compiled = triton.compile(path, target=target, options={"num_warps": warps, "num_stages": stages})
    said = _on_amd(compiled) if target.backend == "hip" else _on_nvidia(compiled, rows)
    print(json.dumps(said._asdict()))
"""


def compile_kernels(kernels, target, rows, folder):
    """Compile them ahead of time, in a process without JAX: beside other compilers' libraries Triton's may not load."""
    files = [folder / f"{kernel.name}.ttir" for kernel in kernels]
    for kernel, file in zip(kernels, files, strict=True):
        file.write_text(kernel.text)
    wanted = [(str(file), kernel.warps, kernel.stages) for kernel, file in zip(kernels, files, strict=True)]
    command = [sys.executable, "-c", COMPILATION, target, str(rows), json.dumps(wanted)]
    environment = {**os.environ, "KERAS_BACKEND": "torch"}
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert run.returncode == 0, run.stderr
    return [SimpleNamespace(**json.loads(line)) for line in run.stdout.splitlines()[-len(kernels) :]]


def platform_of(target):
    return "cuda" if target.startswith("sm") else "rocm"


def forward_and_gradient(decay, inputs, start, weights, marks):
    results, pull_back = jax.vjp(lambda *x: jax_pallas_gpu.linear_scan(*x, marks, False), decay, inputs, start)
    return results, pull_back(weights)


def arguments_of(shape, dtype, parts, marked):
    array = jax.ShapeDtypeStruct
    number, state = (array(shape, dtype),) * parts, (array((shape[0], shape[2]), "float32"),) * parts
    marks = Marks(*([array((*shape[:2], 1), "bool")] * 2 if marked else [None, None]))
    return number, number, state, (number, state), marks


@pytest.mark.parametrize(("platform", "parts"), [("cuda", 1), ("cuda", 2), ("rocm", 1)])
@pytest.mark.parametrize(
    ("dtype", "shape", "marked", "count"),
    [("float32", (1, 2048, 2560), False, 6), ("bfloat16", (2, 1000, 200), True, 6), ("float16", (3, 2, 5), True, 2)],
)
def test_it_becomes_a_program_of_triton(platform, parts, dtype, shape, marked, count):
    assert lowered(forward_and_gradient, arguments_of(shape, dtype, parts, marked), platform).count(CALL) == count


def test_it_can_be_exported():
    allowed = jax.export.DisabledSafetyCheck.custom_call(CALL)
    export = jax.export.export(jax.jit(forward_and_gradient), platforms=["cuda"], disabled_checks=[allowed])
    with jax.sharding.use_abstract_mesh(mesh_of_h100()):
        assert export(*arguments_of((2, 70, 40), "float32", 1, False)).mlir_module().count(CALL) == 2


@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("triton", "torch"))), reason="Triton comes with PyTorch, which isn't there"
)
@pytest.mark.parametrize(("target", "parts", "dtype", "marked"), COMPILED)
@pytest.mark.slow
def test_compiled_ahead_of_time(target, parts, dtype, marked, tmp_path):
    arguments = arguments_of((2, 1000, 200), dtype, parts, marked)
    kernels = kernels_of(lowered(forward_and_gradient, arguments, platform_of(target)))
    assert [kernel.name for kernel in kernels] == list(TRAFFIC)
    # The scan of pieces is the same in both directions.
    kernels = [kernel for kernel in kernels if kernel.name != "linear_scan_gradient_starts"]
    for kernel, compiled in zip(kernels, compile_kernels(kernels, target, ROWS, tmp_path), strict=True):
        assert (compiled.spills, compiled.stack) == (0, 0)
        if compiled.loads is not None:
            loads, stores = (parts * arrays for arrays in TRAFFIC[kernel.name])
            # Of a piece: whether it forgets its start.
            marks = 0 if not marked else 1 if kernel.name == "linear_scan_starts" else 2
            assert (compiled.loads, compiled.stores) == (loads + marks, stores)


@pytest.mark.parametrize("implementation", ["jax_pallas_gpu"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_several_rows_at_once_and_several_blocks_of_channels(implementation, case, monkeypatch):
    monkeypatch.setattr(jax_pallas_gpu_blocks, "ROWS", 2)
    monkeypatch.setattr(jax_pallas_gpu_blocks, "THREADS", 2)
    check_values("linear_scan", implementation, case)
    check_gradients("linear_scan", implementation, case)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        # 1280 programs of 32 channels, and 1024 are enough.
        ((16, 2048, 2560), 2048),
        # 640 of them: two pieces would be more than enough.
        ((8, 2048, 2560), 2048),
        # 80 programs: twelve pieces.
        ((1, 2048, 2560), 176),
        # 8 programs: as many pieces as 64 steps allow.
        ((1, 1024, 256), 64),
        ((1, 127, 256), 127),
        ((3, 2, 5), 2),
    ],
)
def test_time_is_cut_where_there_are_few_programs(shape, expected):
    assert jax_pallas_gpu_blocks.steps_of_a_piece(shape, 32) == expected


@pytest.mark.parametrize("length", [2, 64, 128, 1000, 1001, 16384])
@pytest.mark.parametrize("width", [1, 500, 5000])
def test_pieces_are_long_enough_and_all_but_the_last_whole(length, width):
    walk = jax_pallas_gpu_blocks.walk_through(jax.ShapeDtypeStruct((1, length, width), "float32"), False, ROWS)
    assert 0 < length - (walk.pieces - 1) * walk.steps <= walk.steps
    assert walk.pieces == 1 or (walk.steps >= jax_pallas_gpu_blocks.SHORTEST_PIECE and walk.steps % ROWS == 0)


@pytest.mark.parametrize(
    ("device", "dtype", "reason"),
    [
        ("gpu", "float32", None),
        ("gpu", "bfloat16", None),
        ("gpu", "float64", "computes in float32"),
        ("cpu", "float32", "needs a GPU"),
        ("tpu", "float32", "needs a GPU"),
    ],
)
@pytest.mark.parametrize("op_name", ["linear_scan", "rg_lru"])
def test_what_it_serves(op_name, device, dtype, reason, monkeypatch):
    monkeypatch.setattr("keras_griffin.backends.jax_backend.device_kind", lambda: device)
    assert jax_pallas_gpu.supports(Facts("jax", device, (1, 7, 5), dtype)) == reason
    chosen = explain(op_name, (1, 7, 5), dtype).chosen
    assert (chosen == "jax_pallas_gpu") == (reason is None)
    assert (chosen == "jax_associative") == (device == "gpu" and reason is not None)


@pytest.mark.parametrize(("op_name", "chosen"), [("linear_scan", "jax_associative"), ("rg_lru", "jax_associative")])
def test_a_jax_without_triton(op_name, chosen, monkeypatch):
    """Pallas's way to Triton is deprecated: where it is missing, nothing needs it, and `explain` says so."""
    monkeypatch.setitem(sys.modules, "jax.experimental.pallas.triton", None)
    monkeypatch.setattr("keras_griffin.backends.jax_backend.device_kind", lambda: "gpu")
    explanation = explain(op_name, (1, 7, 5))
    assert explanation.chosen == chosen
    (reason,) = (verdict.reason for verdict in explanation.verdicts if verdict.name == "jax_pallas_gpu")
    assert reason == "needs jax.experimental.pallas.triton, which this JAX does not have"
    if op_name == "linear_scan":
        assert linear_scan(jnp.ones((1, 7, 5)), jnp.ones((1, 7, 5)))[0][0, -1, 0] == 7.0


def test_asked_for_where_it_cant_run():
    with use_implementation("linear_scan", "jax_pallas_gpu"):
        with pytest.raises(ValueError, match="'jax_pallas_gpu' must support .* It needs a GPU"):
            linear_scan(jnp.ones((1, 4, 3)), jnp.ones((1, 4, 3)))
