"""Compilation for TPUs; `tests/ops/test_rows.py` has the values."""

import re

import keras
import numpy as np
import pytest

if keras.backend.backend() != "jax":
    pytest.skip("a kernel of JAX's", allow_module_level=True)

import jax
from jax import numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from keras_griffin.ops import linear_scan, use_implementation
from keras_griffin.ops.implementation import Facts
from keras_griffin.ops.linear_scan import jax_pallas_tpu
from keras_griffin.ops.recurrence.marks import Marks

TPUS = ("v4:2x2x1", "v5e:2x2", "v5p:2x2x1", "v6e:2x2")
#: Shape, reverse, with marks: whole blocks; blocks that are cut off at both ends; less than a register.
WHOLE, CUT_OFF, TINY = ((1, 2048, 2560), False, False), ((2, 1000, 200), True, True), ((1, 2, 5), False, True)


@pytest.mark.parametrize("topology", TPUS, indirect=True)
@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize(("dtype", "case"), [("float32", WHOLE), ("bfloat16", WHOLE), ("bfloat16", CUT_OFF)])
def test_the_compiler_of_tpus_takes_it(topology, dtype, case, parts):
    shape, reverse, marked = case
    text = compiled(topology, dtype, case, parts).as_text()
    assert text.count('custom_call_target="tpu_custom_call"') == 2
    if not marked:
        # Nothing but the kernels touches an array; XLA may fetch one in advance.
        name = {"float32": "f32", "bfloat16": "bf16"}[dtype]
        made = re.findall(rf"= {name}\[{','.join(map(str, shape))}\]\S* ([a-z-]+)", text)
        assert set(made) <= {"parameter", "copy-done", "get-tuple-element", "bitcast"}


@pytest.mark.parametrize("topology", ["v5e:2x2"], indirect=True)
@pytest.mark.parametrize(("dtype", "case"), [("float32", CUT_OFF), ("float32", TINY), ("bfloat16", TINY)])
def test_the_compiler_of_one_tpu_takes_odd_shapes(topology, dtype, case):
    assert compiled(topology, dtype, case, 1).as_text().count("tpu_custom_call") >= 2


def compiled(topology, dtype, case, parts):
    """Forward and gradient, for a TPU that is not there."""
    shape, reverse, marked = case
    sharding = SingleDeviceSharding(topology[0])

    def array(shape, dtype):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)

    def function(decay, inputs, start, weights, marks):
        results, pull_back = jax.vjp(
            lambda *numbers: jax_pallas_tpu.linear_scan(*numbers, marks, reverse), decay, inputs, start
        )
        return results, pull_back(weights)

    number, state = (array(shape, dtype),) * parts, (array((shape[0], shape[2]), "float32"),) * parts
    marks = Marks(*([array((*shape[:2], 1), "bool")] * 2 if marked else [None, None]))
    return jax.jit(function).lower(number, number, state, (number, state), marks).compile()


@pytest.mark.parametrize("topology", ["v5e:2x2"], indirect=True)
def test_xla_cant_divide_it(topology):
    """Why `shard_map` does, under `keras.distribution`."""
    mesh = Mesh(np.array(topology), ("batch",))

    def array(*shape):
        return jax.ShapeDtypeStruct(shape, "float32", sharding=NamedSharding(mesh, PartitionSpec("batch")))

    function = jax.jit(lambda a, x, h: jax_pallas_tpu.linear_scan((a,), (x,), (h,), Marks(None, None), False))
    with pytest.raises(NotImplementedError, match="shard_map"):
        function.lower(array(4, 64, 128), array(4, 64, 128), array(4, 128)).compile()


@pytest.mark.parametrize(
    ("device", "dtype", "reason"),
    [("tpu", "bfloat16", None), ("tpu", "float64", "computes in float32"), ("gpu", "float32", "needs a TPU")],
)
def test_what_it_serves(device, dtype, reason):
    assert jax_pallas_tpu.supports(Facts("jax", device, (1, 7, 5), dtype)) == reason


def test_asked_for_where_it_cant_run():
    with use_implementation("linear_scan", "jax_pallas_tpu"):
        with pytest.raises(ValueError, match="'jax_pallas_tpu' must support .* It needs a TPU"):
            linear_scan(jnp.ones((1, 4, 3)), jnp.ones((1, 4, 3)))
