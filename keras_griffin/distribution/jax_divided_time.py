"""The ops of `divided_time` on JAX; their contracts stand there.

A scan is two scans: one from zero, which says where each device's stretch ends, and, once the devices have told each
other, one from the right state. The other way is one scan and then `y += A_t H`, A_t being all products of decays so
far. It would read and write a further array of the sequence's size and keep it for the gradient; the second scan
keeps what a scan on one device keeps.
"""

import functools

import jax
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
from keras_griffin.ops.linear_scan.components import add, conjugate
from keras_griffin.ops.linear_scan.marks import effective, forgetting, marks_of_steps
from keras_griffin.ops.rg_lru.gates import gates
from keras_griffin.ops.rg_lru.unit import Unit


def linear_scan(decay, inputs, initial_state, axis_name, flags, reverse):
    """The contract is `keras_griffin.distribution.divided_time.linear_scan`."""
    num_devices("linear_scan", axis_name)
    tensors = _components(inputs), _components(decay)
    return _over_devices(_scan, _product_of_decays, tensors, initial_state, flags, axis_name, reverse)


def rg_lru(inputs, logits, channels, initial_state, exponent, axis_name, flags, reverse):
    """The contract is `keras_griffin.distribution.divided_time.rg_lru`."""
    num_devices("rg_lru", axis_name)
    run, product = (functools.partial(function, exponent=exponent) for function in (_unit, _product_of_gates))
    tensors = _components(inputs), logits, channels
    return _over_devices(run, product, tensors, initial_state, flags, axis_name, reverse)


def causal_conv(inputs, kernel, bias, axis_name, reset):
    """The contract is `keras_griffin.distribution.divided_time.causal_conv`."""
    num_devices("causal_conv", axis_name)
    history = steps_before(inputs, kernel.shape[0] - 1, axis_name)
    if reset is not None and history.shape[1]:
        # How many resets there were up to each step, counted from the first of those before.
        before = jnp.cumsum(steps_before(reset.astype("int32"), history.shape[1], axis_name), axis=1)
        history = of_newest_document(history, before)
    return ops.causal_conv(inputs, kernel, bias, history, reset=reset)[0]


def local_attention(query, key, value, window, axis_name, segment_ids):
    """The contract is `keras_griffin.distribution.divided_time.local_attention`."""
    devices = num_devices("local_attention", axis_name)
    if segment_ids is None:
        segment_ids = jnp.zeros_like(key[:, :, 0, 0], "int32")
    count = min(window - 1, (devices - 1) * key.shape[1])
    key, value = with_steps_before((key, value), count, axis_name)
    there = steps_before(jnp.ones_like(segment_ids, "bool"), count, axis_name)
    segment_ids = segment_ids.astype("int32")
    # Nobody's id, for the steps before the first of all.
    before = jnp.where(there, steps_before(segment_ids, count, axis_name), jnp.iinfo("int32").min)
    ids = jnp.concatenate([before, segment_ids], axis=1)
    return ops.local_attention(query, key, value, window, segment_ids=ids)


def with_steps_before(heads, count, axis_name):
    """Keys and values, each `(B, T, K, H)`, with the `count` steps before their own in front, by one message."""
    channels = [x.shape[-1] for x in heads]
    joined = jnp.concatenate(heads, axis=-1)
    joined = jnp.concatenate([steps_before(joined, count, axis_name), joined], axis=1)
    return jnp.split(joined, [channels[0]], axis=-1)


def of_newest_document(history, numbers):
    """A history `(B, K - 1, D)`, zero where its document, `(B, K - 1)`, is not the one that its last step is of."""
    return jnp.where((numbers == numbers[:, -1:])[..., None], history, 0)


def _scan(tensors, start, flags, reverse):
    inputs, decay = tensors
    results = ops.linear_scan(_number(decay), _number(inputs), _number(start), **flags, reverse=reverse)
    return tuple(map(_components, results))


def _product_of_decays(tensors, flags, dtype):
    inputs, decay = tensors
    return _product(effective(decay, inputs, marks_of_steps(**flags), dtype)[0])


def _unit(tensors, start, flags, reverse, *, exponent):
    inputs, logits, (decay_parameter, phase) = tensors
    options = {"phase": phase, "exponent": exponent, **flags, "reverse": reverse}
    results = ops.rg_lru(_number(inputs), *logits, decay_parameter, _number(start), **options)
    return tuple(map(_components, results))


def _product_of_gates(tensors, flags, dtype, *, exponent):
    inputs, logits, channels = tensors
    return _product(gates(Unit(inputs, *logits, *channels), marks_of_steps(**flags), exponent, dtype)[0])


def _product(decay):
    """The product over all steps, `(B, D)`. No gradient goes through it: see `_backward`."""
    if len(decay) == 1:
        return (jnp.prod(decay[0], axis=1),)
    product = jnp.prod(jax.lax.complex(*decay), axis=1)
    return product.real, product.imag


def _over_devices(run, product, tensors, initial_state, flags, axis_name, reverse):
    """A scan over time that is divided over the devices of an axis.

    Args:
        run: a function of `(tensors, start, flags, reverse)`: the scan of one device, and its two results.
        product: a function of `(tensors, flags, dtype)`: what such a scan multiplies its start by, `(B, D)`.
        tensors: all that has a gradient but the start; first the inputs, components.
        initial_state: components `(B, D)`, or None.
        flags: reset and mask, by these names.
        axis_name: the axis along which time is divided.
        reverse: run from the last step to the first.

    Returns:
        `(states, final_state)`, components: the states of this device, and the last of all devices.
    """
    inputs = tensors[0]
    dtype = jnp.promote_types(inputs[0].dtype, "float32")
    first = tuple(h.astype(dtype) for h in initial_state or [jnp.zeros_like(x[:, 0]) for x in inputs])
    arguments = on_the_same_devices((tensors, first, flags), axis_name, inputs[0])
    states, last = _scan_over_devices(run, product, axis_name, reverse, *arguments)
    ends_here = is_first(axis_name, not reverse)
    return states, tuple(jax.lax.psum(jnp.where(ends_here, h, 0), axis_name) for h in last)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2, 3))
def _scan_over_devices(run, product, axis_name, reverse, tensors, first, flags):
    """The states of this device and the last of them."""
    return _forward(run, product, axis_name, reverse, tensors, first, flags)[0]


def _forward(run, product, axis_name, reverse, tensors, first, flags):
    from_zero = run(tensors, tuple(map(jnp.zeros_like, first)), flags, reverse)[1]
    told = product(tensors, flags, first[0].dtype), from_zero, _forgets(flags, first[0])
    products, lasts, forgets = gathered(told, axis_name)
    forgotten = forgets[0] > 0.0 if forgets else None
    start = state_before(products, lasts, forgotten, first, axis_name, reverse)
    results, pull_back = jax.vjp(lambda tensors, start: run(tensors, start, flags, reverse), tensors, start)
    return results, (pull_back, products, forgotten)


def _forgets(flags, like):
    """One where this device's steps forget their start, zero elsewhere, in a row like `(B, D)`; () without resets.

    A number, so that it is part of the one message; and more than the product of decays says, which may be zero without
    a reset.
    """
    forgotten = forgetting(marks_of_steps(**flags))
    return () if forgotten is None else (jnp.broadcast_to(jnp.any(forgotten, axis=1), like.shape).astype(like.dtype),)


def _backward(run, product, axis_name, reverse, kept, gradients):
    """The same, mirrored in time: a scan's gradient is a scan, multiplied on its way by the same products.

    So the products need no gradient of their own: that of the second scan, from its right start and into its right end,
    is the whole.
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


def _components(number):
    """`(real,)` or `(real, imaginary)`."""
    return tuple(number) if isinstance(number, tuple | list) else (number,)


def _number(components):
    return components if len(components) == 2 else components[0]
