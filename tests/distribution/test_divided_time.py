"""The ops over divided time, values and gradients in float64.

Scans are compared with their definition in NumPy, the others with the op on one device.
"""

import functools

import keras
import numpy as np
import pytest

if keras.backend.backend() != "jax":
    pytest.skip("JAX alone divides time", allow_module_level=True)

import jax
from jax.sharding import PartitionSpec

from keras_griffin import ops
from keras_griffin.distribution import time_along
from keras_griffin.ops.gated_linear_attention.cases import LinearAttentionCase
from keras_griffin.ops.linear_scan import reference as scan_reference
from keras_griffin.ops.log_scan.cases import LogCase
from keras_griffin.ops.rg_lru import reference as unit_reference
from keras_griffin.ops.rg_lru.gates import GatedScanInputs
from keras_griffin.ops.selective_scan.cases import SelectiveCase
from keras_griffin.ops.shared import time_axis
from keras_griffin.ops.state_space.cases import SystemCase
from keras_griffin.testing.closeness import assert_close
from tests.distribution.devices import divided

STEPS, WHOLE = PartitionSpec(None, "time"), PartitionSpec()
BATCH, LENGTH, WIDTH = 3, 16, 5
# On 2, 4 and 8 devices: a device's first and last step, all of a device's steps, and steps inside.
RESET, MASK = np.zeros((BATCH, LENGTH), bool), np.ones((BATCH, LENGTH), bool)
RESET[0, [0, 8, 13]] = RESET[1, [7, 9]] = True
MASK[0, [3, 4, 8]] = MASK[1, 4:8] = MASK[2, :6] = False


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def draw(*shape):
    return np.random.default_rng(sum(shape)).uniform(-1.0, 1.0, shape)


def pair(*shape):
    return tuple(draw(*shape) + part for part in (0.1, 0.2))


def over(devices, function, in_specs, out_specs, flags, **options):
    """A function of whole tensors, computed with time divided over so many devices; so are its flags."""

    def on_each(tensors, flags):
        with time_along("time"):
            return function(*tensors, **flags)

    on_all = divided(on_each, devices, (in_specs, STEPS), out_specs, **options)
    return lambda *tensors: on_all(tensors, flags)


def with_gradients(function, arguments, weights):
    """What a function gives, and the gradients for its arguments of the sum of that with weights."""

    def both(arguments, weights):
        outputs, pull_back = jax.vjp(lambda arguments: function(*arguments), arguments)
        return outputs, pull_back(weights)[0]

    return jax.jit(both)(arguments, weights)


def assert_all_close(got, wanted, dtype="float64"):
    got, wanted = jax.tree.leaves(got), jax.tree.leaves(wanted)
    assert len(got) == len(wanted)
    for x, y in zip(got, wanted, strict=True):
        assert_close(x, y, dtype)


def parts(number):
    """A complex array as the pair that the package has for it."""
    return (number.real, number.imag) if np.iscomplexobj(number) else number


def number(pair):
    return pair[0] + 1j * pair[1] if isinstance(pair, tuple) else pair


def arguments_of(is_complex):
    make = pair if is_complex else draw
    inputs, start = make(BATCH, LENGTH, WIDTH), make(BATCH, WIDTH)
    return inputs, start, (make(BATCH, LENGTH, WIDTH), make(BATCH, WIDTH))


@pytest.mark.parametrize(
    ("devices", "marked", "reverse", "is_complex", "check_vma"),
    [
        (2, True, False, False, True),
        (4, True, False, False, True),
        (8, True, False, False, True),
        (8, True, False, False, False),
        (8, False, True, False, True),
        (4, True, True, True, True),
    ],
)
def test_rg_lru(devices, marked, reverse, is_complex, check_vma):
    inputs, start, weights = arguments_of(is_complex)
    logits = draw(BATCH, LENGTH, WIDTH), -draw(BATCH, LENGTH, WIDTH)
    channels = (draw(WIDTH) + 2.0, *([draw(WIDTH)] if is_complex else []))
    flags = {"reset": RESET, "mask": MASK} if marked else {}

    def unit(inputs, logits, channels, start, **flags):
        phase = channels[1] if is_complex else None
        return ops.rg_lru(inputs, *logits, channels[0], start, phase=phase, exponent=3.0, reverse=reverse, **flags)

    function = over(devices, unit, (STEPS, STEPS, WHOLE, WHOLE), (STEPS, WHOLE), flags, check_vma=check_vma)
    got = with_gradients(function, (inputs, logits, channels, start), weights)

    unit = GatedScanInputs(number(inputs), *logits, channels[0], channels[1] if is_complex else None)
    start, options = number(start), {**flags, "reverse": reverse}
    states = unit_reference.definition(unit, start, 3.0, **options)
    into, into_start = unit_reference.rg_lru_gradient(unit, start, 3.0, tuple(map(number, weights)), **options)
    gradients = parts(into.inputs), into[1:3], [x for x in into[3:] if x is not None], parts(into_start)
    # Keras has sine and cosine in float32.
    assert_all_close(got, ([parts(x) for x in states], gradients), "float32" if is_complex else "float64")
    # A stretch without reset hands the state on, so that there is something to be wrong.
    assert marked or np.abs(states[1] - unit_reference.definition(unit, None, 3.0, **options)[1]).max() > 1e-3


def scan_over(devices, flags, reverse):
    scan = functools.partial(ops.linear_scan, reverse=reverse)
    return over(devices, scan, (STEPS, STEPS, WHOLE), (STEPS, WHOLE), flags)


@pytest.mark.parametrize(
    ("devices", "marked", "reverse", "is_complex"),
    [(8, True, False, False), (8, True, True, False), (4, False, False, True)],
)
def test_linear_scan(devices, marked, reverse, is_complex):
    inputs, start, weights = arguments_of(is_complex)
    decay = jax.tree.map(lambda x: -0.5 * x, inputs)
    flags = {"reset": RESET, "mask": MASK} if marked else {}
    got = with_gradients(scan_over(devices, flags, reverse), (decay, inputs, start), weights)
    arguments, options = tuple(map(number, (decay, inputs, start))), {**flags, "reverse": reverse}
    states = scan_reference.definition(*arguments, **options)
    gradients = scan_reference.linear_scan_gradient(*arguments, *map(number, weights), **options)
    assert_all_close(got, jax.tree.map(parts, (states, gradients)))


MARKS = {"has_reset": True, "has_mask": True, "dtype": "float64"}
SCANS = [
    (8, SelectiveCase(LENGTH, BATCH, WIDTH, **MARKS)),
    (8, LogCase(LENGTH, BATCH, WIDTH, **MARKS)),
    (4, LogCase(LENGTH, BATCH, WIDTH, has_initial_state=False, dtype="float64")),
    (8, SystemCase(LENGTH, BATCH, WIDTH, **MARKS)),
    (8, LinearAttentionCase(LENGTH, BATCH, WIDTH, num_key_heads=1, has_angles=True, **MARKS)),
    (4, LinearAttentionCase(LENGTH, BATCH, WIDTH, by_channel=True, has_initial_state=False, dtype="float64")),
]


@pytest.mark.parametrize(("devices", "case"), SCANS, ids=lambda x: f"{type(x).__name__}-{x}")
def test_scan_with_a_state_of_its_own(devices, case):
    arrays = [argument.values for argument in case.arguments()]
    specs = tuple(STEPS if x.shape[:2] == (BATCH, LENGTH) else WHOLE for x in arrays)
    flags = {name: flag for name, flag in case.options.items() if flag is not None}

    def call(*tensors, **flags):
        """The case's op, with each device's part of the marks."""
        kind = type(case)
        return tuple(type("Divided", (kind,), {"options": flags})(**vars(case)).call(*tensors))

    expected = case.definition(*arrays)
    weights = tuple(draw(*x.shape) for x in expected)
    got = with_gradients(over(devices, call, specs, (STEPS, WHOLE), flags), tuple(arrays), weights)
    # Keras has sine and cosine in float32.
    dtype = "float32" if isinstance(case, SystemCase) or getattr(case, "has_angles", False) else "float64"
    assert_all_close(got, (expected, case.gradients(list(weights), *arrays)), dtype)


@pytest.mark.parametrize(("devices", "reverse"), [(8, False), (4, True)])
def test_a_past_that_is_not_finite_ends_at_a_reset(devices, reverse):
    inputs, start, weights = arguments_of(False)
    decay, flags = -0.5 * inputs, {"reset": RESET[:1]}
    order = slice(None, None, -1) if reverse else slice(None)
    documents = RESET[0, order].cumsum()[order]
    inputs, decay, start, weights = inputs[:1], decay[:1], start[:1], (weights[0][:1], weights[1][:1])
    options = {**flags, "reverse": reverse}
    states, _ = scan_reference.definition(decay, inputs, start, **options)
    gradients = scan_reference.linear_scan_gradient(decay, inputs, start, *weights, **options)

    # Spoiled: the document before, and the gradients of the one after.
    decay, inputs, given = decay.copy(), inputs.copy(), weights[0].copy()
    decay[:, documents == 1] = inputs[:, documents == 1] = given[:, documents == 3] = np.nan
    weights = given, np.full_like(weights[1], np.nan)
    (got, _), into = with_gradients(scan_over(devices, flags, reverse), (decay, inputs, start), weights)
    between = documents == 2
    assert between.any() and np.all(np.isnan(np.asarray(got)[:, documents == 1]))
    for actual, expected in zip((got, *into[:2]), (states, *gradients[:2]), strict=True):
        assert_close(np.asarray(actual)[:, between], expected[:, between], "float64")


def assert_as_on_one_device(devices, function, arguments, in_specs, flags):
    weights = draw(*arguments[0].shape)
    got = with_gradients(over(devices, function, in_specs, STEPS, flags), arguments, weights)
    assert_all_close(got, with_gradients(functools.partial(function, **flags), arguments, weights))


@pytest.mark.parametrize(
    ("devices", "taps", "marked"), [(2, 4, True), (8, 4, True), (8, 6, False), (4, 1, True), (4, 20, True)]
)
def test_causal_conv(devices, taps, marked):
    arguments = draw(BATCH, LENGTH, WIDTH), draw(taps, WIDTH), draw(WIDTH)
    flags = {"reset": RESET} if marked else {}

    def conv(*tensors, **flags):
        return ops.causal_conv(*tensors, **flags)[0]

    assert_as_on_one_device(devices, conv, arguments, (STEPS, WHOLE, WHOLE), flags)


@pytest.mark.parametrize(("devices", "window", "marked"), [(2, 4, True), (8, 4, True), (8, 100, False), (4, 1, True)])
def test_local_attention(devices, window, marked):
    arguments = draw(BATCH, LENGTH, 4, 3), draw(BATCH, LENGTH, 2, 3), draw(BATCH, LENGTH, 2, 3)
    # An id that comes back is the same segment again.
    flags = {"segment_ids": np.where(RESET.cumsum(axis=1) % 2, -1, 2**31 - 1).astype("int32")} if marked else {}
    assert_as_on_one_device(devices, functools.partial(ops.local_attention, window=window), arguments, STEPS, flags)


CALLS = {
    "linear_scan": lambda: ops.linear_scan(draw(1, 4, 2), draw(1, 4, 2)),
    "rg_lru": lambda: ops.rg_lru(*[draw(1, 4, 2)] * 3, draw(2)),
    "selective_scan": lambda: ops.selective_scan(*[draw(1, 4, 2)] * 2, *[draw(2, 3), *[draw(1, 4, 3)] * 2]),
    "gated_linear_attention": lambda: ops.gated_linear_attention(*[draw(1, 4, 1, 2)] * 3),
    "state_space": lambda: ops.state_space(draw(1, 4, 2), *[draw(2, 4)] * 3),
    "log_scan": lambda: ops.log_scan(*[draw(1, 4, 2)] * 2),
    "causal_conv": lambda: ops.causal_conv(draw(1, 4, 2), draw(4, 2)),
    "local_attention": lambda: ops.local_attention(*[draw(1, 4, 1, 2)] * 3, 2),
}


def test_a_state_that_is_carried_by_a_matrix_is_refused():
    with pytest.raises(ValueError, match=r"^state_space: with time divided .* be diagonal, .* Got \(2, 4, 4\)\."):
        over(2, lambda x: ops.state_space(x, draw(2, 4, 4), draw(2, 4), draw(2, 4))[0], STEPS, STEPS, {})(draw(1, 4, 2))
    with pytest.raises(ValueError, match="^delta_rule: an op must have a rule for time divided over devices"):
        over(2, lambda x: ops.delta_rule(x, x, x, None, x[..., 0])[0], STEPS, STEPS, {})(draw(1, 4, 1, 2))


@pytest.mark.parametrize("name", CALLS)
def test_an_axis_that_is_not_there_is_refused(name):
    with pytest.raises(ValueError) as error, time_along("time"):
        CALLS[name]()
    assert str(error.value) == f"{name}: axis_name must be an axis of the mesh of the enclosing shard_map. Got 'time'."


@pytest.mark.parametrize("devices", [2, 8])
def test_positions_and_counts_run_through_all_devices(devices):
    def numbers(marks):
        return time_axis.positions(marks.shape[1])[None], time_axis.running_count(marks)

    places, counts = over(devices, numbers, (STEPS,), (STEPS, STEPS), {})(RESET)
    np.testing.assert_array_equal(places[0], np.arange(LENGTH))
    np.testing.assert_array_equal(counts, np.cumsum(RESET, axis=1))
