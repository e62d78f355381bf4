"""What only GPUs ask of the kernels, compiled for some that aren't there. Most numbers: `test_rows.py`."""

import importlib.util
from importlib.metadata import version

import keras
import pytest

if keras.backend.backend() != "jax":
    pytest.skip("a kernel of JAX's", allow_module_level=True)

import jax
from jax import numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from keras_griffin.ops import rg_lru, use_implementation
from keras_griffin.ops.linear_scan import jax_pallas_gpu_blocks
from keras_griffin.ops.linear_scan.marks import Marks
from keras_griffin.ops.rg_lru import jax_pallas_gpu
from keras_griffin.ops.rg_lru.cases import UnitCase
from keras_griffin.ops.rg_lru.unit import Unit
from tests.ops.linear_scan.test_jax_pallas_gpu import (
    CALL,
    compile_kernels,
    kernels_of,
    lowered,
    mesh_of_h100,
    platform_of,
)
from tests.ops.rows import check_gradients, check_values

ROWS = jax_pallas_gpu.ROWS
#: Arrays that each kernel reads and writes in each row. Only the first pass over pieces of time is beside the minimum.
TRAFFIC = {
    "rg_lru_pieces": (3, 0),
    "rg_lru_starts": (2, 1),
    "rg_lru": (3, 1),
    "rg_lru_gradient_pieces": (2, 0),
    "rg_lru_gradient_starts": (2, 1),
    "rg_lru_gradient": (5, 3),
}
#: GPU, components, dtype, with marks.
COMPILED = [
    ("sm90", 1, "bfloat16", True),
    ("sm90", 2, "float32", False),
    ("gfx942", 2, "float32", True),
]


def forward_and_gradient(unit, start, weights, marks):
    results, pull_back = jax.vjp(lambda *x: jax_pallas_gpu.rg_lru(*x, marks, 8.0, False), unit, start)
    return results, pull_back(weights)


def arguments_of(shape, dtype, parts, marked):
    array = jax.ShapeDtypeStruct
    sequence, channels = array(shape, dtype), array(shape[2:], "float32")
    unit = Unit((sequence,) * parts, sequence, sequence, channels, channels if parts == 2 else None)
    state = (array((shape[0], shape[2]), "float32"),) * parts
    marks = Marks(*([array((*shape[:2], 1), "bool")] * 2 if marked else [None, None]))
    return unit, state, (unit.inputs, state), marks


@pytest.mark.parametrize(("platform", "parts"), [("cuda", 1), ("cuda", 2), ("rocm", 2)])
@pytest.mark.parametrize(
    ("dtype", "shape", "marked", "count"), [("float32", (1, 2048, 2560), False, 6), ("bfloat16", (3, 2, 5), True, 2)]
)
def test_it_becomes_a_program_of_triton(platform, parts, dtype, shape, marked, count):
    assert lowered(forward_and_gradient, arguments_of(shape, dtype, parts, marked), platform).count(CALL) == count


@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("triton", "torch"))), reason="Triton comes with PyTorch, which isn't there"
)
@pytest.mark.parametrize(("target", "parts", "dtype", "marked"), COMPILED)
@pytest.mark.slow
def test_compiled_ahead_of_time(target, parts, dtype, marked, tmp_path):
    arguments = arguments_of((2, 1000, 200), dtype, parts, marked)
    kernels = kernels_of(lowered(forward_and_gradient, arguments, platform_of(target)))
    assert [kernel.name for kernel in kernels] == list(TRAFFIC)
    # The scans of pieces are those of `linear_scan`.
    kernels = [kernel for kernel in kernels if not kernel.name.endswith("starts")]
    for kernel, compiled in zip(kernels, compile_kernels(kernels, target, ROWS, tmp_path), strict=True):
        if (target, parts) == ("sm90", 2):
            # For angles of more than 100000, the sine of Triton before 3.9 works in memory of the thread's own. Nothing
            # else does.
            major, minor = map(int, version("triton").split(".")[:2])
            assert compiled.stack == (32 if (major, minor) < (3, 9) else 0)
            continue
        assert (compiled.spills, compiled.stack) == (0, 0)
        if compiled.loads is not None:
            loads, stores = TRAFFIC[kernel.name]
            assert (compiled.loads, compiled.stores) == (loads + (2 if marked else 0), stores)


@pytest.mark.parametrize("implementation", ["jax_pallas_gpu"])
def test_several_rows_at_once_and_several_blocks_of_channels(implementation, monkeypatch):
    monkeypatch.setattr(jax_pallas_gpu_blocks, "ROWS", 2)
    monkeypatch.setattr(jax_pallas_gpu_blocks, "THREADS", 2)
    case = UnitCase(71, 2, is_complex=True, reverse=True, has_reset=True, has_mask=True)
    check_values("rg_lru", implementation, case)
    check_gradients("rg_lru", implementation, case)


@pytest.mark.parametrize("with_parameter", [False, True])
def test_devices_need_not_talk_but_of_the_parameters_gradient(with_parameter):
    mesh = mesh_of_h100((2, 4), ("batch", "width"))
    sequence, state, channels = (
        PartitionSpec(*axes) for axes in (("batch", None, "width"), ("batch", "width"), ("width",))
    )

    def gradients(x, input_logits, recurrence_logits, parameter, start, weights):
        def states(parameter, x, input_logits, recurrence_logits, start):
            unit = Unit((x,), input_logits, recurrence_logits, parameter, None)
            return jax_pallas_gpu.rg_lru(unit, (start,), Marks(None, None), 8.0, False)[0][0]

        return jax.vjp(states, parameter, x, input_logits, recurrence_logits, start)[1](weights)[not with_parameter :]

    specs = (sequence, sequence, sequence, channels, state, sequence)
    outputs = (channels, sequence, sequence, sequence, state)[not with_parameter :]
    shapes = {sequence: (4, 512, 512), state: (4, 512), channels: (512,)}
    arguments = [jax.ShapeDtypeStruct(shapes[spec], "float32", sharding=NamedSharding(mesh, spec)) for spec in specs]
    program = lowered(jax.shard_map(gradients, mesh=mesh, in_specs=specs, out_specs=outputs), arguments, "cuda", mesh)
    assert program.count(CALL) == 6
    words = ("all_gather", "all_reduce", "all_to_all", "collective_permute", "reduce_scatter")
    assert [word for word in words for _ in range(program.count(word))] == ["all_reduce"] * with_parameter


def test_asked_for_where_it_cant_run():
    steps = jnp.ones((1, 4, 3))
    with use_implementation("rg_lru", "jax_pallas_gpu"):
        with pytest.raises(ValueError, match="'jax_pallas_gpu' must support .* It needs a GPU"):
            rg_lru(steps, steps, steps, jnp.ones(3))
