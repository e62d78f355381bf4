"""Kernels for TPUs are compiled where JAX has 64 bits too."""

import keras
import pytest

if keras.backend.backend() != "jax":
    pytest.skip("a setting of JAX's", allow_module_level=True)

import jax
from jax.sharding import SingleDeviceSharding

from keras_griffin.ops import linear_scan, local_attention, log_scan, rg_lru, selective_scan

SEQUENCE, CHANNELS, HEADS = (2, 40, 200), (200,), (2, 40, 2, 8)
#: Each op on its arguments and a tensor of marks, and the arguments' shapes.
CALLS = {
    "linear_scan": (lambda a, x, marks: linear_scan(a, x, reset=marks, mask=marks, reverse=True), [SEQUENCE] * 2),
    "rg_lru": (
        lambda x, i, r, parameter, marks: rg_lru(x, i, r, parameter, reset=marks, mask=marks),
        [*[SEQUENCE] * 3, CHANNELS],
    ),
    "log_scan": (lambda a, x, marks: log_scan(a, x, reset=marks, mask=marks), [SEQUENCE] * 2),
    "selective_scan": (
        lambda *arguments: selective_scan(*arguments[:-1], reset=arguments[-1]),
        [SEQUENCE, SEQUENCE, (200, 3), (2, 40, 3), (2, 40, 3)],
    ),
    "local_attention": (lambda q, k, v, marks: (local_attention(q, k, v, 8, mask=marks),), [HEADS] * 3),
}


@pytest.mark.parametrize("op_name", [*list(CALLS)[:4], pytest.param("local_attention", marks=pytest.mark.slow)])
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
