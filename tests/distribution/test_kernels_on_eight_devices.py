"""Kernels under `keras.distribution`."""

import keras
import numpy as np
import pytest

if keras.backend.backend() != "jax":
    pytest.skip("Keras's distribution is JAX's alone", allow_module_level=True)

import jax
from jax import numpy as jnp

from keras_griffin.ops import rg_lru
from keras_griffin.ops.implementation import find_op, use_implementation
from keras_griffin.ops.linear_scan.cases import ScanCase
from keras_griffin.ops.local_attention.cases import AttentionCase
from keras_griffin.ops.recurrence.kernels import jax_triton_launch
from keras_griffin.ops.recurrence.marks import Marks
from keras_griffin.ops.rg_lru import jax_triton
from keras_griffin.ops.rg_lru.cases import UnitCase
from keras_griffin.ops.rg_lru.gates import GatedScanInputs
from keras_griffin.ops.selective_scan.cases import SelectiveCase
from keras_griffin.ops.shared.jax_division import active_division
from tests.distribution.devices import collectives
from tests.ops.rows import check_gradients, check_values, interpret

pytestmark = pytest.mark.slow
MARKED = {"has_reset": True, "has_mask": True}
#: Op, row, mesh, case. Rows and channels are divided; then one axis of the mesh, or both, divide nothing.
CASES = [
    ("linear_scan", "jax_pallas_tpu", (8,), ScanCase(5, 16, 3, has_initial_state=False)),
    ("linear_scan", "jax_pallas_tpu", (2, 4), ScanCase(19, 2, 12, is_complex=True, reverse=True, **MARKED)),
    ("rg_lru", "jax_pallas_tpu", (2, 4), UnitCase(19, 4, 12, is_complex=True, **MARKED)),
    ("rg_lru", "jax_pallas_tpu", (2, 4), UnitCase(5, 3, 8)),
    ("rg_lru", "jax_pallas_tpu", (4, 2), UnitCase(5, 4, 7, dtype="bfloat16", reverse=True)),
    ("selective_scan", "jax_pallas_tpu", (2, 4), SelectiveCase(19, 2, 12, **MARKED)),
    # One key head for all devices, one for two of them, and heads that four devices don't divide.
    ("local_attention", "jax_splash_tpu", (2, 4), AttentionCase(7, 9, 3, 1, 4, has_segments=True)),
    ("local_attention", "jax_splash_tpu", (2, 4), AttentionCase(7, 9, 3, 2, 2, num_heads=8, has_mask=True)),
    ("local_attention", "jax_splash_tpu", (2, 4), AttentionCase(7, 7, 3, 3, 3, num_heads=6)),
]


def distribution_of(shape):
    mesh = keras.distribution.DeviceMesh(shape, ["batch", "model"][: len(shape)])
    if len(shape) == 1:
        return keras.distribution.DataParallel(mesh)
    return keras.distribution.ModelParallel(layout_map=keras.distribution.LayoutMap(mesh), batch_dim_name="batch")


@pytest.mark.parametrize(("op_name", "implementation", "mesh", "case"), CASES, ids=str)
def test_values_and_gradients_are_those_of_the_reference(op_name, implementation, mesh, case, monkeypatch):
    op = find_op(op_name)
    interpret(monkeypatch, op, op._named(implementation))
    with distribution_of(mesh).scope():
        check_values(op_name, implementation, case)
        check_gradients(op_name, implementation, case)


def test_what_is_sent(monkeypatch):
    """The sums over rows of the gradients for Lambda and theta, and nothing else."""
    op = find_op("rg_lru")
    interpret(monkeypatch, op, op._named("jax_pallas_tpu"))
    distribution = distribution_of((2, 4))

    def placed(axes, *shape):
        layout = keras.distribution.TensorLayout(axes, distribution.device_mesh).backend_layout
        return jax.device_put(np.random.default_rng(0).normal(size=shape).astype("float32"), layout)

    sequence, channels = placed(("batch", None, "model"), 2, 19, 12), placed(("model",), 12)

    def step(sequence, channels):
        def outputs(sequence, channels):
            with use_implementation("rg_lru", "jax_pallas_tpu"):
                return rg_lru((sequence, sequence), sequence, sequence, channels, phase=channels)[0]

        made, pull = jax.vjp(outputs, sequence, channels)
        return made, pull(made)

    with distribution.scope():
        program = jax.jit(step).lower(sequence, channels).compile()
    assert collectives(program) in ([("all-reduce", "f32[3]{0}")], [("all-reduce", "(f32[3]{0}, f32[3]{0})")])
    # Each device has one row and three channels.
    assert "f32[1,19,3]" in program.as_text() and "f32[2,19,12]" not in program.as_text()


def test_a_gpu_gets_a_part(monkeypatch):
    inputs = []

    def launch(kernel, arguments, results, programs, **constants):
        inputs.append(arguments[0][0])
        return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), results)

    monkeypatch.setattr(jax_triton_launch, "launch", launch)
    monkeypatch.setattr(jax_triton_launch, "chip", lambda array: (0, 32))
    x, channels = jnp.ones((4, 6, 64)), jnp.ones(64)
    with distribution_of((2, 4)).scope():
        jax.eval_shape(
            lambda x: jax_triton.rg_lru(
                GatedScanInputs((x,), x, x, channels, None), (x[:, 0],), Marks(None, None), 8.0, False
            ),
            x,
        )
    assert [array.shape for array in inputs] == [(2, 6, 16)]


def test_parts_inside_shard_map_are_not_divided_again():
    distribution, rows = distribution_of((8,)), jax.sharding.PartitionSpec("batch")

    def function(x):
        assert active_division() is None
        return x

    with distribution.scope():
        assert active_division().batch_axis == "batch"
        mesh = distribution.device_mesh.backend_mesh
        jax.jit(jax.shard_map(function, mesh=mesh, in_specs=rows, out_specs=rows))(jnp.ones(8))
    assert active_division() is None
