"""What only TPUs ask of the kernel. Its numbers are in `test_rows.py`."""

import keras
import pytest

if keras.backend.backend() != "jax":
    pytest.skip("a kernel of JAX's", allow_module_level=True)

import jax
import numpy as np
from jax import numpy as jnp
from jax.experimental.pallas import tpu as pltpu
from jax.sharding import SingleDeviceSharding

from keras_griffin.ops import selective_scan, use_implementation
from keras_griffin.ops.recurrence.marks import marks_of_steps
from keras_griffin.ops.selective_scan import jax_pallas_tpu
from keras_griffin.ops.selective_scan.cases import SelectiveCase
from keras_griffin.ops.selective_scan.inputs import SelectiveScanInputs
from keras_griffin.testing.closeness import assert_close
from tests.ops.rows import weights_of

TPUS = ("v4:2x2x1", "v5e:2x2", "v5p:2x2x1", "v6e:2x2")
#: Shape, N, with resets: whole blocks; blocks that are cut off at both ends; less than a register.
WHOLE, CUT_OFF, TINY = ((2, 1024, 512), 16, False), ((2, 200, 200), 16, True), ((1, 2, 5), 3, True)


@pytest.mark.parametrize("topology", TPUS, indirect=True)
@pytest.mark.parametrize(("dtype", "case"), [("float32", WHOLE), ("bfloat16", CUT_OFF)])
def test_the_compiler_of_tpus_takes_it(topology, dtype, case):
    assert compiled(topology, dtype, case).as_text().count('custom_call_target="tpu_custom_call"') == 2


@pytest.mark.parametrize("topology", ["v5e:2x2"], indirect=True)
@pytest.mark.parametrize(("dtype", "case"), [("float32", TINY), ("float32", ((1, 128, 128), 128, False))])
def test_the_compiler_of_one_tpu_takes_few_and_many_numbers(topology, dtype, case):
    assert compiled(topology, dtype, case).as_text().count("tpu_custom_call") >= 2


def compiled(topology, dtype, case):
    """Forward and gradient, for a TPU that is not there."""
    shape, numbers, has_reset = case
    sharding = SingleDeviceSharding(topology[0])

    def array(shape, dtype):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)

    def function(selection, start, reset, weights):
        marks = marks_of_steps(reset, None)
        call = lambda selection, start: jax_pallas_tpu.selective_scan(selection, start, marks)  # noqa: E731
        results, pull_back = jax.vjp(call, selection, start)
        return results, pull_back(weights)

    sequence, weights = array(shape, dtype), array((*shape[:2], numbers), dtype)
    rates, state = array((shape[2], numbers), "float32"), array((shape[0], shape[2], numbers), "float32")
    selection = SelectiveScanInputs(sequence, sequence, rates, weights, weights)
    reset = array(shape[:2], "bool") if has_reset else None
    return jax.jit(function).lower(selection, state, reset, (sequence, state)).compile()


def test_nothing_is_read_before_it_is_written_and_nothing_races(monkeypatch):
    # Two blocks of time and of channels, the last of each cut off.
    monkeypatch.setattr(jax_pallas_tpu, "_LONGEST", 16)
    case = SelectiveCase(20, 1, width=130, numbers=2, has_reset=True)
    arrays = [argument.values for argument in case.arguments()]
    weights = weights_of(case.definition(*arrays))
    *selection, start = (jnp.asarray(x, "float32") for x in arrays)
    reset = jnp.asarray(case.options["reset"])
    memory = pltpu.InterpretParams(detect_races=True, uninitialized_memory="nan")
    with pltpu.force_tpu_interpret_mode(memory):
        call = lambda *x: jax_pallas_tpu.selective_scan(SelectiveScanInputs(*x[:5]), x[5], marks_of_steps(reset, None))  # noqa: E731
        results, pull_back = jax.vjp(call, *selection, start)
        gradients = pull_back(tuple(jnp.asarray(x, "float32") for x in weights))
    # No public name says it.
    from jax._src.pallas.mosaic.interpret import interpret_pallas_call

    assert not interpret_pallas_call.races.races_found
    expected = [*case.definition(*arrays), *case.gradients(weights, *arrays)]
    for got, wanted in zip((*results, *gradients), expected, strict=True):
        assert_close(np.asarray(got), wanted)


def test_asked_for_where_it_cant_run():
    sequence, weights = jnp.ones((1, 4, 3)), jnp.ones((1, 4, 2))
    with use_implementation("selective_scan", "jax_pallas_tpu"):
        with pytest.raises(ValueError, match="'jax_pallas_tpu' must support .* It needs a TPU"):
            selective_scan(sequence, sequence, -jnp.ones((3, 2)), weights, weights)
