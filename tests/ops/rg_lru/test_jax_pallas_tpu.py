"""What only TPUs ask of the kernel. Its numbers are in `test_rows.py`."""

import functools
import re

import keras
import numpy as np
import pytest

if keras.backend.backend() != "jax":
    pytest.skip("a kernel of JAX's", allow_module_level=True)

import jax
from jax import numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from keras_griffin.ops import rg_lru, use_implementation
from keras_griffin.ops.recurrence.marks import Marks
from keras_griffin.ops.rg_lru import jax_pallas_tpu
from keras_griffin.ops.rg_lru.inputs import GatedScanInputs

TPUS = ("v4:2x2x1", "v5e:2x2", "v5p:2x2x1", "v6e:2x2")
#: Shape, reverse, with marks: whole blocks, and blocks that are cut off at both ends.
WHOLE, CUT_OFF = ((1, 2048, 2560), False, False), ((2, 1000, 200), True, True)


@pytest.mark.parametrize("topology", TPUS, indirect=True)
@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize(("dtype", "case"), [("float32", WHOLE), ("bfloat16", WHOLE), ("bfloat16", CUT_OFF)])
def test_the_compiler_of_tpus_takes_it(topology, dtype, case, parts):
    shape, reverse, marked = case
    sharding = SingleDeviceSharding(topology[0])

    def array(shape, dtype):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)

    def function(unit, start, weights, marks):
        results, pull_back = jax.vjp(
            lambda unit, start: jax_pallas_tpu.rg_lru(unit, start, marks, 8.0, reverse), unit, start
        )
        return results, pull_back(weights)

    sequence, channels = array(shape, dtype), array(shape[2:], "float32")
    unit = GatedScanInputs((sequence,) * parts, sequence, sequence, channels, channels if parts == 2 else None)
    state = (array((shape[0], shape[2]), "float32"),) * parts
    marks = Marks(*([array((*shape[:2], 1), "bool")] * 2 if marked else [None, None]))
    lowered = jax.jit(function).lower(unit, state, (unit.inputs, state), marks)
    text = lowered.compile().as_text()
    assert text.count('custom_call_target="tpu_custom_call"') == 2
    if not marked:
        # Nothing but the kernels touches an array; XLA may fetch one in advance.
        name = {"float32": "f32", "bfloat16": "bf16"}[dtype]
        made = re.findall(rf"= {name}\[{','.join(map(str, shape))}\]\S* ([a-z-]+)", text)
        assert set(made) <= {"parameter", "copy-done", "get-tuple-element", "bitcast"}


@pytest.mark.parametrize("topology", ["v5e:2x2"], indirect=True)
def test_four_chips_need_not_talk(topology):
    mesh = Mesh(np.reshape(topology, (2, 2)), ("batch", "width"))
    sequence, state = PartitionSpec("batch", None, "width"), PartitionSpec("batch", "width")

    @functools.partial(
        jax.shard_map,
        mesh=mesh,
        in_specs=(sequence, sequence, sequence, PartitionSpec("width"), state, sequence),
        out_specs=(sequence, sequence, sequence, state),
    )
    def gradients(x, input_gate, recurrence_gate, decay_parameter, start, weights):
        def states(x, input_gate, recurrence_gate, start):
            unit = GatedScanInputs((x,), input_gate, recurrence_gate, decay_parameter, None)
            (states,), _ = jax_pallas_tpu.rg_lru(unit, (start,), Marks(None, None), 8.0, False)
            return states

        return jax.vjp(states, x, input_gate, recurrence_gate, start)[1](weights)

    def array(shape, spec):
        return jax.ShapeDtypeStruct(shape, "float32", sharding=NamedSharding(mesh, spec))

    steps = array((4, 512, 512), sequence)
    arguments = steps, steps, steps, array((512,), PartitionSpec("width")), array((4, 512), state), steps
    text = jax.jit(gradients).lower(*arguments).compile().as_text()
    assert text.count('custom_call_target="tpu_custom_call"') == 2
    for word in ("all-gather", "all-reduce", "all-to-all", "collective-permute", "reduce-scatter"):
        assert word not in text


def test_expm1_keeps_its_digits():
    x = -np.concatenate([[0.0], np.logspace(-30, 2, 1000)]).astype("float32")
    expected = np.expm1(x.astype("float64"))
    np.testing.assert_allclose(jax_pallas_tpu.expm1(jnp.asarray(x)), expected, rtol=4e-7)


def test_asked_for_where_it_cant_run():
    steps = jnp.ones((1, 4, 3))
    with use_implementation("rg_lru", "jax_pallas_tpu"):
        with pytest.raises(ValueError, match="'jax_pallas_tpu' must support .* It needs a TPU"):
            rg_lru(steps, steps, steps, jnp.ones(3))
