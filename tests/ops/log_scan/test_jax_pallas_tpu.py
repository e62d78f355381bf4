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
from jax.experimental.pallas import tpu as pltpu
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from keras_griffin.ops import log_scan, use_implementation
from keras_griffin.ops.linear_scan import jax_pallas_tpu_blocks
from keras_griffin.ops.linear_scan.marks import Marks
from keras_griffin.ops.log_scan import jax_pallas_tpu
from keras_griffin.ops.log_scan.cases import LogCase
from keras_griffin.testing.closeness import assert_close
from tests.ops.linear_scan.test_jax_pallas_tpu_walk import costs
from tests.ops.rows import weights_of

TPUS = ("v4:2x2x1", "v5e:2x2", "v5p:2x2x1", "v6e:2x2")
#: Shape, with marks: whole blocks; blocks that are cut off at both ends.
WHOLE, CUT_OFF = ((1, 2048, 2560), False), ((2, 1000, 200), True)


def forward_and_gradient(decay, inputs, start, weights, marks):
    results, pull_back = jax.vjp(lambda *x: jax_pallas_tpu.log_scan(*x, marks), decay, inputs, start)
    return results, pull_back(weights)


@pytest.mark.parametrize("topology", TPUS, indirect=True)
@pytest.mark.parametrize(("dtype", "case"), [("float32", WHOLE), ("bfloat16", CUT_OFF)])
def test_the_compiler_of_tpus_takes_it(topology, dtype, case):
    shape, marked = case
    sharding = SingleDeviceSharding(topology[0])

    def array(shape, dtype):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)

    sequence, state = array(shape, dtype), array((shape[0], shape[2]), "float32")
    marks = Marks(*([array((*shape[:2], 1), "bool")] * 2 if marked else [None, None]))
    lowered = jax.jit(forward_and_gradient).lower(sequence, sequence, state, (sequence, state), marks)
    text = lowered.compile().as_text()
    assert text.count('custom_call_target="tpu_custom_call"') == 2
    if not marked:
        # Nothing but the kernels touches an array; XLA may fetch one in advance.
        made = re.findall(rf"= f32\[{','.join(map(str, shape))}\]\S* ([a-z-]+)", text)
        assert set(made) <= {"parameter", "copy-done", "get-tuple-element", "bitcast"}


@pytest.mark.parametrize("topology", ["v5e:2x2"], indirect=True)
def test_four_chips_need_not_talk(topology):
    mesh = Mesh(np.reshape(topology, (2, 2)), ("batch", "width"))
    sequence, state = PartitionSpec("batch", None, "width"), PartitionSpec("batch", "width")

    @functools.partial(
        jax.shard_map, mesh=mesh, in_specs=(sequence, sequence, state, sequence), out_specs=(sequence, sequence, state)
    )
    def gradients(decay, inputs, start, weights):
        def states(*numbers):
            return jax_pallas_tpu.log_scan(*numbers, Marks(None, None))[0]

        return jax.vjp(states, decay, inputs, start)[1](weights)

    def array(shape, spec):
        return jax.ShapeDtypeStruct(shape, "float32", sharding=NamedSharding(mesh, spec))

    steps = array((4, 512, 512), sequence)
    text = jax.jit(gradients).lower(steps, steps, array((4, 512), state), steps).compile().as_text()
    assert text.count('custom_call_target="tpu_custom_call"') == 2
    for word in ("all-gather", "all-reduce", "all-to-all", "collective-permute", "reduce-scatter"):
        assert word not in text


def test_nothing_is_read_before_it_is_written_and_nothing_races(monkeypatch):
    # Three blocks, the last of them cut off, at two widths of a block.
    monkeypatch.setattr(jax_pallas_tpu_blocks, "_LONGEST", jax_pallas_tpu_blocks.GROUP)
    case = LogCase(40, 2, width=130, has_reset=True, has_mask=True)
    arrays = [argument.values for argument in case.arguments()]
    weights = weights_of(case.definition(*arrays))
    decay, inputs, start, *cotangents = (jnp.asarray(x, "float32") for x in (*arrays, *weights))
    marks = Marks(*(jnp.asarray(case.options[name])[..., None] for name in ("reset", "mask")))
    with pltpu.force_tpu_interpret_mode(pltpu.InterpretParams(detect_races=True, uninitialized_memory="nan")):
        results, gradients = forward_and_gradient(decay, inputs, start, tuple(cotangents), marks)
    # No public name says it.
    from jax._src.pallas.mosaic.interpret import interpret_pallas_call

    assert not interpret_pallas_call.races.races_found
    expected = [*case.definition(*arrays), *case.gradients(weights, *arrays)]
    for got, wanted in zip((*results, *gradients), expected, strict=True):
        assert_close(got, wanted)


def test_what_moves_through_memory():
    """Each array once: three without a gradient; with it, four forward and four backward."""
    array, start, nowhere = jnp.zeros((2, 512, 256)), jnp.zeros((2, 256)), Marks(None, None)

    def moved(function, *arguments):
        return [cost.bytes_accessed for cost in costs(jax.make_jaxpr(function)(*arguments).jaxpr)]

    sequence, state = array.nbytes, start.nbytes
    forward = moved(lambda *x: jax_pallas_tpu.log_scan(*x, nowhere), array, array, start)
    assert forward == [3 * sequence + 2 * state]
    both = moved(lambda *x: forward_and_gradient(*x, nowhere), array, array, start, (array, start))
    assert both == [4 * sequence + 2 * state] * 2


def test_asked_for_where_it_cant_run():
    with use_implementation("log_scan", "jax_pallas_tpu"):
        with pytest.raises(ValueError, match="'jax_pallas_tpu' must support .* It needs a TPU"):
            log_scan(jnp.ones((1, 4, 3)), jnp.ones((1, 4, 3)))
