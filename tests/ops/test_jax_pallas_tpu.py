"""What only TPUs ask of Pallas's kernels. Their numbers are in `test_rows.py`."""

import functools
import importlib
import re

import keras
import pytest

if keras.backend.backend() != "jax":
    pytest.skip("kernels of JAX's", allow_module_level=True)

import jax
import numpy as np
from jax import numpy as jnp
from jax.experimental.pallas import tpu as pltpu
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from keras_griffin.ops import linear_scan, rg_lru, selective_scan, use_implementation
from keras_griffin.ops.implementation import Facts
from keras_griffin.ops.linear_scan.cases import ScanCase
from keras_griffin.ops.recurrence.kernels import jax_pallas_tpu_blocks
from keras_griffin.ops.recurrence.kernels.jax_pallas_tpu_walk import supports
from keras_griffin.ops.recurrence.marks import Marks
from keras_griffin.ops.rg_lru.gates import GatedScanInputs
from keras_griffin.ops.selective_scan.cases import SelectiveCase
from keras_griffin.ops.selective_scan.inputs import SelectiveScanInputs
from keras_griffin.testing.closeness import assert_close
from tests.ops.rows import weights_of

OPS = ["linear_scan", "rg_lru", "selective_scan"]
KERNELS = {name: importlib.import_module(f"keras_griffin.ops.{name}.jax_pallas_tpu") for name in OPS}
TPUS = ("v4:2x2x1", "v5e:2x2", "v5p:2x2x1", "v6e:2x2")
MARKED = {"has_reset": True, "has_mask": True}
#: Shape, reverse, with marks: whole blocks; blocks that are cut off at both ends; less than a register.
WHOLE, CUT_OFF, TINY = ((1, 2048, 2560), False, False), ((2, 1000, 200), True, True), ((1, 2, 5), False, True)


def compiled(topology, op_name, dtype, case, parts=1):
    """Forward and gradient, for a TPU that is not there; `parts` is N for `selective_scan`."""
    shape, reverse, marked = case
    sharding = SingleDeviceSharding(topology[0])

    def array(*shape, dtype="float32"):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)

    sequence, channels, mark = array(*shape, dtype=dtype), array(shape[2]), array(*shape[:2], 1, dtype="bool")
    marks = Marks(*([mark] * 2 if marked else [None, None]))
    number, state = (sequence,) * parts, (array(shape[0], shape[2]),) * parts
    options = {} if op_name == "selective_scan" else {"reverse": reverse}
    if op_name == "linear_scan":
        tensors = number, number, state
    elif op_name == "rg_lru":
        phase, options["exponent"] = channels if parts == 2 else None, 8.0
        tensors = GatedScanInputs(number, sequence, sequence, channels, phase), state
    else:
        weights, number, state = array(*shape[:2], parts, dtype=dtype), sequence, array(shape[0], shape[2], parts)
        selection = SelectiveScanInputs(sequence, sequence, array(shape[2], parts), weights, weights)
        tensors, marks = (selection, state), Marks(marks.reset, None)

    def function(tensors, weights, marks):
        call = lambda *tensors: getattr(KERNELS[op_name], op_name)(*tensors, marks=marks, **options)  # noqa: E731
        results, pull_back = jax.vjp(call, *tensors)
        return results, pull_back(weights)

    return jax.jit(function).lower(tensors, (number, state), marks).compile().as_text()


@pytest.mark.parametrize("topology", TPUS, indirect=True)
@pytest.mark.parametrize("op_name", ["linear_scan", "rg_lru"])
@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize(("dtype", "case"), [("float32", WHOLE), ("bfloat16", WHOLE), ("bfloat16", CUT_OFF)])
def test_the_compiler_of_tpus_takes_it(topology, op_name, dtype, case, parts):
    text = compiled(topology, op_name, dtype, case, parts)
    assert text.count('custom_call_target="tpu_custom_call"') == 2
    if case == WHOLE:
        # Nothing but the kernels touches an array; XLA may fetch one in advance.
        name = {"float32": "f32", "bfloat16": "bf16"}[dtype]
        made = re.findall(rf"= {name}\[{','.join(map(str, case[0]))}\]\S* ([a-z-]+)", text)
        assert set(made) <= {"parameter", "copy-done", "get-tuple-element", "bitcast"}


@pytest.mark.parametrize("topology", TPUS, indirect=True)
@pytest.mark.parametrize(
    ("dtype", "case"), [("float32", ((2, 1024, 512), False, False)), ("bfloat16", ((2, 200, 200), False, True))]
)
def test_the_compiler_of_tpus_takes_a_state_of_sixteen_numbers(topology, dtype, case):
    text = compiled(topology, "selective_scan", dtype, case, 16)
    assert text.count('custom_call_target="tpu_custom_call"') == 2


@pytest.mark.parametrize("topology", ["v5e:2x2"], indirect=True)
@pytest.mark.parametrize(
    ("op_name", "dtype", "case", "parts"),
    [
        *(("linear_scan", *call, 1) for call in (("float32", CUT_OFF), ("float32", TINY), ("bfloat16", TINY))),
        ("selective_scan", "float32", TINY, 3),
        ("selective_scan", "float32", ((1, 128, 128), False, False), 128),
    ],
)
def test_the_compiler_of_one_tpu_takes_odd_sizes(topology, op_name, dtype, case, parts):
    assert compiled(topology, op_name, dtype, case, parts).count("tpu_custom_call") >= 2


@pytest.mark.parametrize("topology", ["v5e:2x2"], indirect=True)
def test_xla_cant_divide_it(topology):
    """Why `shard_map` does, under `keras.distribution`."""
    mesh = Mesh(np.array(topology), ("batch",))

    def array(*shape):
        return jax.ShapeDtypeStruct(shape, "float32", sharding=NamedSharding(mesh, PartitionSpec("batch")))

    function = jax.jit(lambda a, x, h: KERNELS["linear_scan"].linear_scan((a,), (x,), (h,), Marks(None, None), False))
    with pytest.raises(NotImplementedError, match="shard_map"):
        function.lower(array(4, 64, 128), array(4, 64, 128), array(4, 128)).compile()


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
            (states,), _ = KERNELS["rg_lru"].rg_lru(unit, (start,), Marks(None, None), 8.0, False)
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


@pytest.mark.parametrize(
    ("op_name", "case", "patched"),
    [
        # Three blocks, the last of them cut off, at two widths of a block; two blocks of time and of channels.
        ("linear_scan", ScanCase(40, 2, width=130, **MARKED), jax_pallas_tpu_blocks),
        ("linear_scan", ScanCase(40, 2, width=130, reverse=True, **MARKED), jax_pallas_tpu_blocks),
        ("selective_scan", SelectiveCase(20, 1, width=130, numbers=2, has_reset=True), KERNELS["selective_scan"]),
    ],
    ids=str,
)
def test_nothing_is_read_before_it_is_written_and_nothing_races(monkeypatch, op_name, case, patched):
    monkeypatch.setattr(patched, "_LONGEST", 16)
    arrays = [argument.values for argument in case.arguments()]
    weights = weights_of(case.definition(*arrays))
    tensors, cotangents = ([jnp.asarray(x, "float32") for x in given] for given in (arrays, weights))
    memory = pltpu.InterpretParams(detect_races=True, uninitialized_memory="nan")
    monkeypatch.setattr("keras_griffin.backends.jax_backend.device_kind", lambda: "tpu")
    with pltpu.force_tpu_interpret_mode(memory), use_implementation(op_name, "jax_pallas_tpu"):
        results, pull_back = jax.vjp(lambda *tensors: case.call(*tensors), *tensors)
        gradients = pull_back(cotangents)
    # No public name says it.
    from jax._src.pallas.mosaic.interpret import interpret_pallas_call

    assert not interpret_pallas_call.races.races_found
    expected = [*case.definition(*arrays), *case.gradients(weights, *arrays)]
    for got, wanted in zip((*results, *gradients), expected, strict=True):
        assert_close(np.asarray(got), wanted)


def test_expm1_keeps_its_digits():
    x = -np.concatenate([[0.0], np.logspace(-30, 2, 1000)]).astype("float32")
    expected = np.expm1(x.astype("float64"))
    np.testing.assert_allclose(KERNELS["rg_lru"].expm1(jnp.asarray(x)), expected, rtol=4e-7)


@pytest.mark.parametrize(
    ("device", "dtype", "reason"),
    [("tpu", "bfloat16", None), ("tpu", "float64", "computes in float32"), ("gpu", "float32", "needs a TPU")],
)
def test_what_they_serve(device, dtype, reason):
    assert supports(Facts("jax", device, (1, 7, 5), dtype)) == reason
    assert all(module.supports is supports for module in KERNELS.values())


@pytest.mark.parametrize("op_name", OPS)
def test_asked_for_where_it_cant_run(op_name):
    steps, channels, weights = jnp.ones((1, 4, 3)), jnp.ones(3), jnp.ones((1, 4, 2))
    calls = {
        "linear_scan": lambda: linear_scan(steps, steps),
        "rg_lru": lambda: rg_lru(steps, steps, steps, channels),
        "selective_scan": lambda: selective_scan(steps, steps, -jnp.ones((3, 2)), weights, weights),
    }
    with use_implementation(op_name, "jax_pallas_tpu"):
        with pytest.raises(ValueError, match="'jax_pallas_tpu' must support .* It needs a TPU"):
            calls[op_name]()
