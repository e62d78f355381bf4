"""How a kernel walks: what it moves, its devices. Its numbers are in `test_rows.py`."""

import subprocess
import sys

import keras
import pytest

if keras.backend.backend() != "jax":
    pytest.skip("a kernel of JAX's", allow_module_level=True)

import jax
from jax import numpy as jnp

from keras_griffin.ops.linear_scan import jax_pallas_tpu
from keras_griffin.ops.recurrence.marks import Marks
from keras_griffin.ops.rg_lru import jax_pallas_tpu as rg_lru_kernels
from keras_griffin.ops.rg_lru.gates import GatedScanInputs


def test_what_moves_through_memory():
    """Each array once: three forward and five backward, with the gates inside four and eight."""
    nowhere, array, start = Marks(None, None), jnp.zeros((2, 512, 256)), (jnp.zeros((2, 256)),)

    def moved(function, *arguments):
        def gradient(*arguments):
            results, pull_back = jax.vjp(function, *arguments)
            return pull_back(results)

        return [cost.bytes_accessed for cost in costs(jax.make_jaxpr(gradient)(*arguments).jaxpr)]

    def scan(*numbers):
        return jax_pallas_tpu.linear_scan(*numbers, nowhere, False)

    def unit(unit, start):
        return rg_lru_kernels.rg_lru(unit, start, nowhere, 8.0, False)

    sequence, state, channels = array.nbytes, start[0].nbytes, 4 * array.shape[2]
    assert moved(scan, (array,), (array,), start) == [3 * sequence + 2 * state, 5 * sequence + 3 * state]
    pair = (array, array)
    assert moved(scan, pair, pair, start * 2) == [6 * sequence + 4 * state, 10 * sequence + 6 * state]
    # Lambda comes in, and its gradient goes out, a row for each of the batch.
    made = moved(unit, GatedScanInputs((array,), array, array, jnp.zeros(256), None), start)
    assert made == [4 * sequence + 2 * state + channels, 8 * sequence + 4 * state + channels]


def costs(jaxpr):
    """What the kernels in it say that they cost."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "pallas_call":
            yield equation.params["cost_estimate"]
        else:
            # JAX 0.10 has a function for this, and 0.8 none.
            inner = [getattr(value, "jaxpr", value) for value in equation.params.values()]
            for each in inner:
                if hasattr(each, "eqns"):
                    yield from costs(each)


def test_rows_and_channels_may_live_on_different_devices():
    program = """
import functools
import jax, numpy as np
from jax import numpy as jnp
from jax.experimental import pallas
from jax.sharding import NamedSharding, PartitionSpec
from keras_griffin.ops.linear_scan import jax_pallas_tpu as scans
from keras_griffin.ops.recurrence.marks import Marks
from keras_griffin.ops.rg_lru import jax_pallas_tpu as units
from keras_griffin.ops.rg_lru.gates import GatedScanInputs

pallas.pallas_call = functools.partial(pallas.pallas_call, interpret=True)
mesh = jax.make_mesh((2, 4), ("batch", "width"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
sequence, state = PartitionSpec("batch", None, "width"), PartitionSpec("batch", "width")
channels = PartitionSpec("width")
draw = np.random.default_rng(0).uniform
x, i, r, weight = (jnp.asarray(draw(0.5, 1.0, (4, 20, 8)), "float32") for _ in range(4))
h, parameter = jnp.asarray(draw(size=(4, 8)), "float32"), jnp.asarray(draw(size=8), "float32")

def scan(decay, inputs, start, weight):
    kernel = lambda *numbers: scans.linear_scan(*numbers, Marks(None, None), False)
    results, pull_back = jax.vjp(kernel, (decay,), (inputs,), (start,))
    return results, pull_back(((weight,), results[1]))

def unit(x, i, r, parameter, start, weight):
    # The sum over the batch of the parameter's gradient is the only thing that needs other devices.
    marks = Marks(None, None)
    kernel = lambda x, i, r, h: units.rg_lru(GatedScanInputs((x,), i, r, parameter, None), (h,), marks, 8.0, False)
    results, pull_back = jax.vjp(kernel, x, i, r, start)
    return results, pull_back(((weight,), results[1]))

for function, arguments, specs, outputs in (
    (scan, (x, i, h, weight), (sequence, sequence, state, sequence),
     (((sequence,), (state,)), ((sequence,), (sequence,), (state,)))),
    (unit, (x, i, r, parameter, h, weight), (sequence, sequence, sequence, channels, state, sequence),
     (((sequence,), (state,)), (sequence, sequence, sequence, state))),
):
    divided = functools.partial(jax.shard_map, function, mesh=mesh, in_specs=specs, out_specs=outputs)
    placed = [jax.device_put(a, NamedSharding(mesh, spec)) for a, spec in zip(arguments, specs)]
    # The kernel says over which devices its results vary; the interpreter does not follow.
    jax.eval_shape(divided(), *placed)
    divided = jax.jit(divided(check_vma=False))
    text = divided.lower(*placed).compile().as_text()
    for word in ("all-gather", "all-reduce", "all-to-all", "collective-permute", "reduce-scatter"):
        assert word not in text, word
    got, wanted = divided(*placed), function(*arguments)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(wanted)):
        assert len(a.sharding.device_set) == 8
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
