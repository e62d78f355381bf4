"""Kernels where JAX has 64 bits too: compiled for TPUs, and interpreted with operands of float32 and of float64."""

import keras
import pytest

if keras.backend.backend() != "jax":
    pytest.skip("a setting of JAX's", allow_module_level=True)

import jax
import numpy as np
from jax import numpy as jnp
from jax.sharding import SingleDeviceSharding

from keras_griffin.ops import linear_scan, local_attention, rg_lru, selective_scan, use_implementation
from keras_griffin.ops.implementation import find_op
from keras_griffin.testing.closeness import assert_close
from tests.ops.rows import interpret

SEQUENCE, CHANNELS, HEADS = (2, 40, 200), (200,), (2, 40, 2, 8)
#: Each op on its arguments and a tensor of marks, and the arguments' shapes.
CALLS = {
    "linear_scan": (lambda a, x, marks: linear_scan(a, x, reset=marks, mask=marks, reverse=True), [SEQUENCE] * 2),
    "rg_lru": (
        lambda x, i, r, parameter, marks: rg_lru(x, i, r, parameter, reset=marks, mask=marks),
        [*[SEQUENCE] * 3, CHANNELS],
    ),
    "selective_scan": (
        lambda *arguments: selective_scan(*arguments[:-1], reset=arguments[-1]),
        [SEQUENCE, SEQUENCE, (200, 3), (2, 40, 3), (2, 40, 3)],
    ),
    "local_attention": (lambda q, k, v, marks: (local_attention(q, k, v, 8, mask=marks),), [HEADS] * 3),
}


@pytest.mark.parametrize("op_name", [*list(CALLS)[:3], pytest.param("local_attention", marks=pytest.mark.slow)])
@pytest.mark.parametrize("topology", ["v5e:2x2"], indirect=True)
def test_the_compiler_of_tpus_takes_float32(op_name, topology, monkeypatch):
    monkeypatch.setattr("keras_griffin.backends.jax_backend.device_kind", lambda: "tpu")
    function, shapes = CALLS[op_name]
    sharding = SingleDeviceSharding(topology[0])

    def both(arguments, marks):
        results, pull_back = jax.vjp(lambda *arguments: function(*arguments, marks), *arguments)
        return results, pull_back(results)

    arguments = [jax.ShapeDtypeStruct(shape, "float32", sharding=sharding) for shape in shapes]
    marks = jax.ShapeDtypeStruct((2, 40), "bool", sharding=sharding)
    with jax.enable_x64(True):
        program = jax.jit(both).lower(arguments, marks).compile().as_text()
    kernels = program.count('custom_call_target="tpu_custom_call"')
    assert kernels == (3 if op_name == "local_attention" else 2)


#: Each op on its inputs and on what its decays are computed from, both positive and below 1.
OF_TWO = {
    "linear_scan": lambda x, decay: linear_scan(decay, x),
    "rg_lru": lambda x, gate: rg_lru(x, gate, gate, gate[0, 0]),
    "selective_scan": lambda x, size: selective_scan(x, size, -jnp.ones((5, 3)), x[..., :3], size[..., :3]),
}


@pytest.mark.parametrize("op_name", OF_TWO)
def test_decays_of_float64_beside_inputs_of_float32(op_name, monkeypatch):
    op = find_op(op_name)
    (row,) = (row for row in op.implementations if row.name == "jax_pallas_tpu")
    rng = np.random.default_rng(0)
    x, decay, weights = (rng.uniform(0.2, 0.8, size=(2, 9, 5)).astype("float32") for _ in range(3))

    def values_and_gradients(dtype, *arguments):
        arguments = [jnp.asarray(argument, each) for argument, each in zip(arguments, dtype, strict=True)]
        results, pull_back = jax.vjp(OF_TWO[op_name], *arguments)
        last = jnp.ones(results[1].shape, results[1].dtype)
        return results, pull_back((jnp.asarray(weights, results[0].dtype), last))

    with jax.enable_x64(True):
        with use_implementation(op_name, "portable"):
            expected = values_and_gradients(("float64", "float64"), x, decay)
        interpret(monkeypatch, op, row)
        with use_implementation(op_name, "jax_pallas_tpu"):
            found = values_and_gradients(("float32", "float64"), x, decay)
    assert [gradient.dtype for gradient in found[1]] == ["float32", "float64"]
    for own, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert_close(own, other, "float32")
