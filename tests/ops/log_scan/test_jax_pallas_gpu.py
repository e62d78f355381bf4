"""What only GPUs ask of the kernels, compiled for some that aren't there. Most numbers: `test_rows.py`."""

import importlib.util

import keras
import pytest

if keras.backend.backend() != "jax":
    pytest.skip("a kernel of JAX's", allow_module_level=True)

import jax
from jax import numpy as jnp

from keras_griffin.ops import log_scan, use_implementation
from keras_griffin.ops.linear_scan import jax_pallas_gpu_blocks
from keras_griffin.ops.linear_scan.marks import Marks
from keras_griffin.ops.log_scan import jax_pallas_gpu
from keras_griffin.ops.log_scan.cases import LogCase
from tests.ops.linear_scan.test_jax_pallas_gpu import CALL, compile_kernels, kernels_of, lowered, platform_of
from tests.ops.rows import check_gradients, check_values

ROWS = jax_pallas_gpu_blocks.ROWS
#: Arrays that each kernel reads and writes in each row. Only the first pass over pieces of time is beside the minimum.
TRAFFIC = {
    "log_scan_pieces": (2, 0),
    "log_scan_starts": (2, 1),
    "log_scan": (2, 2),
    "log_scan_gradient_pieces": (2, 0),
    "log_scan_gradient_starts": (2, 1),
    "log_scan_gradient": (2, 2),
}
#: GPU, dtype, with marks. The walk is that of `linear_scan`, which is compiled for every GPU.
COMPILED = [("sm90", "bfloat16", True)]


def forward_and_gradient(decay, inputs, start, weights, marks):
    results, pull_back = jax.vjp(lambda *x: jax_pallas_gpu.log_scan(*x, marks), decay, inputs, start)
    return results, pull_back(weights)


def arguments_of(shape, dtype, marked):
    array = jax.ShapeDtypeStruct
    sequence, state = array(shape, dtype), array((shape[0], shape[2]), "float32")
    marks = Marks(*([array((*shape[:2], 1), "bool")] * 2 if marked else [None, None]))
    return sequence, sequence, state, (sequence, state), marks


@pytest.mark.parametrize("platform", ["cuda", "rocm"])
@pytest.mark.parametrize(
    ("dtype", "shape", "marked", "count"), [("float32", (1, 2048, 2560), False, 6), ("bfloat16", (3, 2, 5), True, 2)]
)
def test_it_becomes_a_program_of_triton(platform, dtype, shape, marked, count):
    assert lowered(forward_and_gradient, arguments_of(shape, dtype, marked), platform).count(CALL) == count


@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("triton", "torch"))), reason="Triton comes with PyTorch, which isn't there"
)
@pytest.mark.parametrize(("target", "dtype", "marked"), COMPILED)
@pytest.mark.slow
def test_compiled_ahead_of_time(target, dtype, marked, tmp_path):
    arguments = arguments_of((2, 1000, 200), dtype, marked)
    kernels = kernels_of(lowered(forward_and_gradient, arguments, platform_of(target)))
    assert [kernel.name for kernel in kernels] == list(TRAFFIC)
    # The scan of the gradient's pieces is that of `linear_scan`.
    kernels = [kernel for kernel in kernels if kernel.name != "log_scan_gradient_starts"]
    for kernel, compiled in zip(kernels, compile_kernels(kernels, target, ROWS, tmp_path), strict=True):
        assert (compiled.spills, compiled.stack) == (0, 0)
        if compiled.loads is not None:
            # Of a piece: whether it forgets its start.
            marks = 0 if not marked else 1 if kernel.name == "log_scan_starts" else 2
            loads, stores = TRAFFIC[kernel.name]
            assert (compiled.loads, compiled.stores) == (loads + marks, stores)


@pytest.mark.parametrize("implementation", ["jax_pallas_gpu"])
def test_several_rows_at_once_and_several_blocks_of_channels(implementation, monkeypatch):
    monkeypatch.setattr(jax_pallas_gpu_blocks, "ROWS", 2)
    monkeypatch.setattr(jax_pallas_gpu_blocks, "THREADS", 2)
    # Three pieces.
    monkeypatch.setattr(jax_pallas_gpu_blocks, "SHORTEST_PIECE", 20)
    case = LogCase(71, 2, has_reset=True, has_mask=True)
    check_values("log_scan", implementation, case)
    check_gradients("log_scan", implementation, case)


def test_asked_for_where_it_cant_run():
    with use_implementation("log_scan", "jax_pallas_gpu"):
        with pytest.raises(ValueError, match="'jax_pallas_gpu' must support .* It needs a GPU"):
            log_scan(jnp.ones((1, 4, 3)), jnp.ones((1, 4, 3)))
