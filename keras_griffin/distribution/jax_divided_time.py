"""The rules with which ops run over divided time, on JAX."""

import functools

import jax
from jax import lax
from jax import numpy as jnp

from keras_griffin import ops
from keras_griffin.distribution.jax_exchange import (
    gathered,
    is_first,
    num_devices,
    on_the_same_devices,
    state_of_device,
    steps_before,
)
from keras_griffin.ops.gated_linear_attention.heads import for_heads
from keras_griffin.ops.log_scan.log_numbers import NOTHING
from keras_griffin.ops.recurrence.marks import apply_marks, forgetting, marks_of_steps
from keras_griffin.ops.recurrence.numbers import add, components_of, conjugate, number_of
from keras_griffin.ops.rg_lru.gates import GatedScanInputs, gates
from keras_griffin.ops.shared.time_axis import DIVIDED_RULES, time_along


def linear_scan(decay, inputs, initial_state, *, marks, reverse, axis_name):
    """The rule of `keras_griffin.ops.linear_scan`; numbers are components, `marks` are reset and mask."""
    num_devices("linear_scan", axis_name)

    def run(tensors, start, marks):
        inputs, decay = map(number_of, tensors)
        return ops.linear_scan(decay, inputs, number_of(start), **_named(marks), reverse=reverse)

    def product_of(tensors, marks, dtype):
        inputs, decay = tensors
        return _product(apply_marks(decay, inputs, marks_of_steps(*marks), dtype)[0])

    return _over_devices(run, product_of, (inputs, decay), initial_state, marks, axis_name, reverse)


def rg_lru(unit, initial_state, *, marks, exponent, reverse, axis_name):
    """The rule of `keras_griffin.ops.rg_lru`; its numbers are a `GatedScanInputs`, `marks` are reset and mask."""
    num_devices("rg_lru", axis_name)

    def run(tensors, start, marks):
        unit = GatedScanInputs(*tensors)
        options = {"phase": unit.phase, "exponent": exponent, **_named(marks), "reverse": reverse}
        return ops.rg_lru(number_of(unit.inputs), *unit[1:4], number_of(start), **options)

    def product_of(tensors, marks, dtype):
        return _product(gates(GatedScanInputs(*tensors), marks_of_steps(*marks), exponent, dtype)[0])

    return _over_devices(run, product_of, tuple(unit), initial_state, marks, axis_name, reverse)


def selective_scan(selection, initial_state, *, marks, axis_name):
    """The rule of `keras_griffin.ops.selective_scan`."""
    num_devices("selective_scan", axis_name)

    def run(tensors, start, marks):
        return ops.selective_scan(*tensors, *start, **_named(marks))

    def product_of(tensors, marks, dtype):
        _, sizes, rates, *_ = tensors
        return (jnp.exp(_total(sizes, marks, dtype)[..., None] * rates.astype(dtype)),)

    start = _start(initial_state, selection.inputs, (*selection.inputs.shape[::2], selection.rates.shape[1]))
    outputs, (last,) = _over_devices(run, product_of, tuple(selection), start, marks, axis_name)
    return *outputs, last


def gated_linear_attention(query, key, value, log_decay, angles, initial_state, *, marks, axis_name):
    """The rule of `keras_griffin.ops.gated_linear_attention`; pairs of the state's rows are complex numbers."""
    num_devices("gated_linear_attention", axis_name)
    is_turned = angles is not None

    def run(tensors, start, marks):
        value, query, key, log_decay, angles = tensors
        tensors = query, key, value, log_decay, jnp.concatenate(start, axis=2)
        outputs, last = ops.gated_linear_attention(*tensors, angles=angles, **_named(marks))
        return outputs, tuple(jnp.split(last, len(start), axis=2))

    def product_of(tensors, marks, dtype):
        *_, log_decay, angles = tensors
        decay = jnp.exp(_total(log_decay, marks, dtype))[..., None]
        if not is_turned:
            return (jnp.broadcast_to(decay, shape),)
        turn = for_heads(_total(angles, marks, dtype)[:, None], shape[1])[:, 0, ..., None]
        half = (*shape[:2], shape[2] // 2, shape[3])
        return tuple(jnp.broadcast_to(decay * part, half) for part in (jnp.cos(turn), jnp.sin(turn)))

    shape = value.shape[0], value.shape[2], query.shape[3], value.shape[3]
    (start,) = _start(initial_state, value, shape)
    first = tuple(jnp.split(start, 2 if is_turned else 1, axis=2))
    tensors = value, query, key, log_decay, angles
    outputs, last = _over_devices(run, product_of, tensors, first, marks, axis_name)
    return *outputs, jnp.concatenate(last, axis=2)


def log_scan(log_decay, inputs, initial_state, *, marks, axis_name):
    """The rule of `keras_griffin.ops.log_scan`: the devices exchange sums of log decays in place of products."""
    num_devices("log_scan", axis_name)
    dtype = jnp.promote_types(inputs.dtype, "float32")
    total = _total(log_decay, marks, dtype)
    nothing = jnp.full_like(total, NOTHING)
    first = nothing if initial_state is None else initial_state.astype(dtype)
    first, marks = on_the_same_devices((first, marks), axis_name, inputs)
    with time_along(None):
        _, last = ops.log_scan(log_decay, inputs, **_named(marks))
    reset = forgetting(marks_of_steps(*marks))
    forgets = jnp.zeros_like(total) if reset is None else jnp.broadcast_to(jnp.any(reset, 1), total.shape).astype(dtype)
    (totals,), (lasts,), (forgets,) = gathered(((total,), (last,), (forgets,)), axis_name)

    def next_state(state, device):
        total, last, forgets, number = device
        carried = jnp.where(forgets > 0, NOTHING, state + total)
        return jnp.where(number < lax.axis_index(axis_name), jnp.logaddexp(carried, last), state), None

    start, _ = lax.scan(next_state, first, (totals, lasts, forgets, jnp.arange(len(totals))))
    with time_along(None):
        states, last = ops.log_scan(log_decay, inputs, start, **_named(marks))
    return states, lax.psum(jnp.where(is_first(axis_name, reverse=True), last, 0), axis_name)


def state_before(states, start, *, axis_name):
    """The rule of `keras_griffin.ops.shared.time_axis.state_before`."""
    return jnp.where(is_first(axis_name), start, steps_before(states, 1, axis_name))


def causal_conv(inputs, kernel, bias, initial_state, reset, mask, *, axis_name):
    """The rule of `keras_griffin.ops.causal_conv`."""
    num_devices("causal_conv", axis_name)
    _no_mask("causal_conv", mask)
    count, length = kernel.shape[0] - 1, inputs.shape[1]
    history = steps_before(inputs, count, axis_name)
    if initial_state is not None and count:
        # Their indices, from the first step of the initial state.
        steps = lax.axis_index(axis_name) * length + jnp.arange(count)
        first = jnp.take(initial_state, jnp.minimum(steps, count - 1), axis=1)
        history = jnp.where((steps < count)[:, None], first.astype(history.dtype), history)
    if reset is not None and count:
        # A step's document is the number of resets up to it, counted from the first step of the history.
        documents = jnp.cumsum(steps_before(reset.astype("int32"), count, axis_name), axis=1)
        history = jnp.where((documents == documents[:, -1:])[..., None], history, 0)
    with time_along(None):
        outputs, newest = ops.causal_conv(inputs, kernel, bias, history, reset=reset)
    last = lax.psum(jnp.where(is_first(axis_name, reverse=True), newest, 0), axis_name)
    return outputs, last if initial_state is None else last.astype(initial_state.dtype)


def local_attention(query, key, value, window, segment_ids, mask, *, axis_name):
    """The rule of `keras_griffin.ops.local_attention`."""
    devices = num_devices("local_attention", axis_name)
    _no_mask("local_attention", mask)
    batch_size, length = query.shape[:2]
    if key.shape[1] != length:
        raise ValueError(
            "local_attention: with time divided over devices, there must be as many keys as queries. "
            f"Got {key.shape[1]} keys and {length} queries."
        )
    if segment_ids is None:
        segment_ids = jnp.zeros((batch_size, length), "int32")
    count = min(window - 1, (devices - 1) * length)
    # Keys and values in one message.
    joined = jnp.concatenate([key, value], axis=-1)
    joined = jnp.concatenate([steps_before(joined, count, axis_name), joined], axis=1)
    key, value = jnp.split(joined, [key.shape[-1]], axis=-1)
    segment_ids = segment_ids.astype("int32")
    # An unused id, for the steps before the first of all.
    there = lax.axis_index(axis_name) * length + jnp.arange(count) >= count
    before = jnp.where(there, steps_before(segment_ids, count, axis_name), jnp.iinfo("int32").min)
    ids = jnp.concatenate([before, segment_ids], axis=1)
    with time_along(None):
        return ops.local_attention(query, key, value, window, segment_ids=ids)


def positions(length, *, axis_name):
    """The rule of `keras_griffin.ops.shared.time_axis.positions`."""
    return lax.axis_index(axis_name) * length + jnp.arange(length, dtype="int32")


def running_count(counted, *, axis_name):
    """The rule of `keras_griffin.ops.shared.time_axis.running_count`."""
    ((totals,),) = gathered(((jnp.sum(counted, axis=1),),), axis_name)
    earlier = jnp.arange(lax.axis_size(axis_name)) < lax.axis_index(axis_name)
    return jnp.sum(jnp.where(earlier[:, None], totals, 0), axis=0)[:, None] + jnp.cumsum(counted, axis=1)


DIVIDED_RULES.update(
    {
        rule.__name__: rule
        for rule in (
            *(linear_scan, rg_lru, selective_scan, gated_linear_attention, log_scan),
            *(causal_conv, local_attention, positions, running_count, state_before),
        )
    }
)


def _no_mask(op_name, mask):
    if mask is not None:
        raise ValueError(
            f"{op_name}: with time divided over devices, there must be no mask. Got one of shape {mask.shape}."
        )


# A scan is two scans: one from zero, which gives the final state of each device's steps, and, after an exchange, one
# from the right initial state. The alternative is one scan followed by `y += A_t H`, with A_t the product of all decays
# so far. It would read and write another array of the sequence's size and store it for the gradient; the second scan
# stores only what a scan on one device does.


def _over_devices(run, product_of, tensors, initial_state, marks, axis_name, reverse=False):
    """The outputs of this device's steps, and the last state of all devices, as components.

    `run(tensors, start, marks)` scans one device's steps, `product_of(tensors, marks, dtype)` is the product of their
    decays; `tensors` are all differentiable arguments except the start, the inputs first.
    """
    inputs = components_of(tensors[0])
    dtype = jnp.promote_types(inputs[0].dtype, "float32")
    first = tuple(h.astype(dtype) for h in initial_state or [jnp.zeros_like(x[:, 0]) for x in inputs])
    arguments = on_the_same_devices((tensors, first, marks), axis_name, inputs[0])
    states, last = _scan_over_devices(run, product_of, axis_name, reverse, *arguments)
    ends_here = is_first(axis_name, not reverse)
    return states, tuple(lax.psum(jnp.where(ends_here, h, 0), axis_name) for h in last)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2, 3))
def _scan_over_devices(run, product_of, axis_name, reverse, tensors, first, marks):
    """The states of this device and the last of them."""
    return _forward(run, product_of, axis_name, reverse, tensors, first, marks)[0]


def _forward(run, product_of, axis_name, reverse, tensors, first, marks):
    def scan(tensors, start):
        with time_along(None):
            return tuple(map(components_of, run(tensors, start, marks)))

    from_zero = scan(tensors, tuple(map(jnp.zeros_like, first)))[1]
    # No gradient goes through it: see `_backward`.
    product = product_of(tensors, marks, first[0].dtype)
    products, lasts, forgets = gathered((product, from_zero, _forgets(marks, first[0])), axis_name)
    forgotten = forgets[0] > 0.0 if forgets else None
    start = state_of_device(products, lasts, forgotten, first, axis_name, reverse)
    results, pull_back = jax.vjp(scan, tensors, start)
    return results, (pull_back, products, forgotten)


def _product(decay):
    """The product over all steps, `(B, D)`."""
    if len(decay) == 1:
        return (jnp.prod(decay[0], axis=1),)
    product = jnp.prod(lax.complex(*decay), axis=1)
    return product.real, product.imag


def _total(x, marks, dtype):
    """The sum over the steps `(B, T, ...)` that are not masked."""
    mask = marks[1]
    x = x.astype(dtype)
    return jnp.sum(x if mask is None else jnp.where(jnp.expand_dims(mask, tuple(range(2, x.ndim))), x, 0.0), axis=1)


def _start(initial_state, like, shape):
    """The initial state as components, zeros for None."""
    return (jnp.zeros(shape, jnp.promote_types(like.dtype, "float32")) if initial_state is None else initial_state,)


def _forgets(marks, like):
    """One where this device's steps forget their start, else zero, in a row like `(B, D)`; () without resets."""
    # The product of decays can't replace it, since that may be zero without a reset. A number fits into its message.
    forgotten = forgetting(marks_of_steps(*marks))
    if forgotten is None:
        return ()
    forgets = jnp.any(forgotten, axis=1)
    forgets = jnp.expand_dims(forgets, tuple(range(forgets.ndim, like.ndim)))
    return (jnp.broadcast_to(forgets, like.shape).astype(like.dtype),)


def _backward(run, product_of, axis_name, reverse, kept, gradients):
    """The same, mirrored in time: a scan's gradient is a scan with the same products."""
    # So the products need no gradient of their own: the second scan's, with the right start and the right gradient at
    # its end, is complete.
    pull_back, products, forgotten = kept
    states_gradient, last_gradient = gradients
    _, into_start = pull_back(gradients)
    (into_starts,) = gathered((into_start,), axis_name)
    zeros = tuple(map(jnp.zeros_like, into_start))
    from_later = state_of_device(conjugate(products), into_starts, forgotten, zeros, axis_name, not reverse)
    into_tensors, into_start = pull_back((states_gradient, add(last_gradient, from_later)))
    starts_here = is_first(axis_name, reverse)
    return into_tensors, tuple(jnp.where(starts_here, g, 0) for g in into_start), None


_scan_over_devices.defvjp(_forward, _backward)


def _named(marks):
    return dict(zip(("reset", "mask"), marks, strict=True))
