"""The rules with which ops run over divided time, on JAX.

A scan is two scans: one from zero, which gives the final state of each device's stretch, and, after an exchange, one
from the right initial state. The alternative is one scan followed by `y += A_t H`, with A_t the product of all decays
so far. It would read and write another array of the sequence's size and store it for the gradient; the second scan
stores only what a scan on one device does.
"""

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
    state_before,
    steps_before,
)
from keras_griffin.ops.recurrence.marks import apply_marks, forgetting, marks_of_steps
from keras_griffin.ops.recurrence.numbers import add, components_of, conjugate, number_of
from keras_griffin.ops.rg_lru.gates import GatedScanInputs, gates
from keras_griffin.ops.shared.time_axis import DIVIDED_RULES, time_along


def linear_scan(decay, inputs, initial_state, *, marks, reverse, axis_name):
    """The rule of `keras_griffin.ops.linear_scan`; numbers are components, `marks` are reset and mask."""
    num_devices("linear_scan", axis_name)
    return _over_devices(_scan, _product_of_decays, (inputs, decay), initial_state, marks, axis_name, reverse)


def rg_lru(unit, initial_state, *, marks, exponent, reverse, axis_name):
    """The rule of `keras_griffin.ops.rg_lru`; its numbers are a `GatedScanInputs`, `marks` are reset and mask."""
    num_devices("rg_lru", axis_name)
    run, product = (functools.partial(function, exponent=exponent) for function in (_unit, _product_of_gates))
    return _over_devices(run, product, tuple(unit), initial_state, marks, axis_name, reverse)


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
        # The number of resets up to each step, counted from the first step of the history.
        history = _of_newest_document(history, jnp.cumsum(steps_before(reset.astype("int32"), count, axis_name), 1))
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
    key, value = _with_steps_before((key, value), count, axis_name)
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
    {rule.__name__: rule for rule in (linear_scan, rg_lru, causal_conv, local_attention, positions, running_count)}
)


def _no_mask(op_name, mask):
    if mask is not None:
        raise ValueError(
            f"{op_name}: with time divided over devices, there must be no mask. Got one of shape {mask.shape}."
        )


def _with_steps_before(heads, count, axis_name):
    """Keys and values, each `(B, T, K, H)`, preceded by the `count` steps before their own, in one message."""
    channels = [x.shape[-1] for x in heads]
    joined = jnp.concatenate(heads, axis=-1)
    joined = jnp.concatenate([steps_before(joined, count, axis_name), joined], axis=1)
    return jnp.split(joined, [channels[0]], axis=-1)


def _of_newest_document(history, numbers):
    """A history `(B, K - 1, D)`, zero where its document number, `(B, K - 1)`, is not that of its last step."""
    return jnp.where((numbers == numbers[:, -1:])[..., None], history, 0)


def _scan(tensors, start, marks, reverse):
    inputs, decay = tensors
    with time_along(None):
        results = ops.linear_scan(
            number_of(decay), number_of(inputs), number_of(start), **_named(marks), reverse=reverse
        )
    return tuple(map(components_of, results))


def _product_of_decays(tensors, marks, dtype):
    inputs, decay = tensors
    return _product(apply_marks(decay, inputs, marks_of_steps(*marks), dtype)[0])


def _unit(tensors, start, marks, reverse, *, exponent):
    unit = GatedScanInputs(*tensors)
    options = {"phase": unit.phase, "exponent": exponent, **_named(marks), "reverse": reverse}
    with time_along(None):
        results = ops.rg_lru(number_of(unit.inputs), *unit[1:4], number_of(start), **options)
    return tuple(map(components_of, results))


def _product_of_gates(tensors, marks, dtype, *, exponent):
    return _product(gates(GatedScanInputs(*tensors), marks_of_steps(*marks), exponent, dtype)[0])


def _product(decay):
    """The product over all steps, `(B, D)`. No gradient goes through it: see `_backward`."""
    if len(decay) == 1:
        return (jnp.prod(decay[0], axis=1),)
    product = jnp.prod(lax.complex(*decay), axis=1)
    return product.real, product.imag


def _over_devices(run, product, tensors, initial_state, marks, axis_name, reverse):
    """A scan over time that is divided over the devices of an axis.

    Args:
        run: a function of `(tensors, start, marks, reverse)`: the scan of one device, with its two results.
        product: a function of `(tensors, marks, dtype)`: the factor of the start in the final state, `(B, D)`.
        tensors: all differentiable arguments except the start; the inputs, components, come first.
        initial_state: components `(B, D)`, or None.
        marks: reset and mask.
        axis_name: the axis along which time is divided.
        reverse: run from the last step to the first.

    Returns:
        `(states, final_state)`, components: the states of this device, and the last of all devices.
    """
    inputs = tensors[0]
    dtype = jnp.promote_types(inputs[0].dtype, "float32")
    first = tuple(h.astype(dtype) for h in initial_state or [jnp.zeros_like(x[:, 0]) for x in inputs])
    arguments = on_the_same_devices((tensors, first, marks), axis_name, inputs[0])
    states, last = _scan_over_devices(run, product, axis_name, reverse, *arguments)
    ends_here = is_first(axis_name, not reverse)
    return states, tuple(lax.psum(jnp.where(ends_here, h, 0), axis_name) for h in last)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2, 3))
def _scan_over_devices(run, product, axis_name, reverse, tensors, first, marks):
    """The states of this device and the last of them."""
    return _forward(run, product, axis_name, reverse, tensors, first, marks)[0]


def _forward(run, product, axis_name, reverse, tensors, first, marks):
    from_zero = run(tensors, tuple(map(jnp.zeros_like, first)), marks, reverse)[1]
    told = product(tensors, marks, first[0].dtype), from_zero, _forgets(marks, first[0])
    products, lasts, forgets = gathered(told, axis_name)
    forgotten = forgets[0] > 0.0 if forgets else None
    start = state_before(products, lasts, forgotten, first, axis_name, reverse)
    results, pull_back = jax.vjp(lambda tensors, start: run(tensors, start, marks, reverse), tensors, start)
    return results, (pull_back, products, forgotten)


def _forgets(marks, like):
    """One where this device's steps forget their start, otherwise zero, in a row like `(B, D)`; () without resets.

    It is a number, so that it fits into the same message. The product of decays can't replace it, since that may be
    zero without a reset.
    """
    forgotten = forgetting(marks_of_steps(*marks))
    return () if forgotten is None else (jnp.broadcast_to(jnp.any(forgotten, axis=1), like.shape).astype(like.dtype),)


def _backward(run, product, axis_name, reverse, kept, gradients):
    """The same, mirrored in time: a scan's gradient is a scan with the same products.

    So the products need no gradient of their own: that of the second scan, with its right start and the right gradient
    at its end, is complete.
    """
    pull_back, products, forgotten = kept
    states_gradient, last_gradient = gradients
    _, into_start = pull_back(gradients)
    (into_starts,) = gathered((into_start,), axis_name)
    nothing = tuple(map(jnp.zeros_like, into_start))
    from_later = state_before(conjugate(products), into_starts, forgotten, nothing, axis_name, not reverse)
    into_tensors, into_start = pull_back((states_gradient, add(last_gradient, from_later)))
    starts_here = is_first(axis_name, reverse)
    return into_tensors, tuple(jnp.where(starts_here, g, 0) for g in into_start), None


_scan_over_devices.defvjp(_forward, _backward)


def _named(marks):
    return dict(zip(("reset", "mask"), marks, strict=True))
