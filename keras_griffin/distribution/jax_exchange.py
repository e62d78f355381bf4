"""Communication along one axis of a mesh inside `shard_map`; its amount does not grow with the sequence."""

import jax
from jax import lax
from jax import numpy as jnp

from keras_griffin.ops.recurrence.marks import zero_where
from keras_griffin.ops.recurrence.numbers import Components, add, multiply
from keras_griffin.shapes import Tensor


def num_devices(function_name: str, axis_name: str) -> int:
    """The number of devices along an axis; a ValueError if the enclosing `shard_map` has no such axis."""
    try:
        return lax.axis_size(axis_name)
    except NameError as error:
        raise ValueError(
            f"{function_name}: axis_name must be an axis of the mesh of the enclosing shard_map. Got {axis_name!r}."
        ) from error


def steps_before(x: Tensor, count: int, axis_name: str) -> Tensor:
    """The `count` steps `(B, count, ...)` before this device's own, `x: (B, T, ...)`; zeros before the first of all."""
    length, devices = x.shape[1], lax.axis_size(axis_name)
    available = min(count, (devices - 1) * length)
    pieces, distance, missing = [x[:, :0]], 0, available
    while missing:
        # From the previous device, or from several if a device has fewer steps.
        distance += 1
        newest = x[:, max(0, length - missing) :]
        pairs = [(device, device + distance) for device in range(devices - distance)]
        # A device that receives nothing gets zeros.
        pieces.insert(0, lax.ppermute(newest, axis_name, pairs))
        missing -= newest.shape[1]
    return jnp.pad(jnp.concatenate(pieces, axis=1), [(0, 0), (count - available, 0)] + [(0, 0)] * (x.ndim - 2))


def gathered(numbers: tuple[Components, ...], axis_name: str) -> tuple[Components, ...]:
    """Numbers `(B, D)` of all devices, `(devices, B, D)`, in one message."""
    leaves, tree = jax.tree.flatten(numbers)
    return jax.tree.unflatten(tree, jnp.unstack(lax.all_gather(jnp.stack(leaves), axis_name), axis=1))


def state_of_device(
    products: Components,
    lasts: Components,
    forgotten: Tensor | None,
    first: Components,
    axis_name: str,
    reverse: bool,
) -> Components:
    """This device's initial state `(B, D)`, which is the final state of the previous device.

        H_0 = first        H_{k+1} = P_k H_k + s_k        or s_k alone, if device k has a reset

    `products` P and `lasts` s, the final states from zero, are `(devices, B, D)`, and so is `forgotten`, a bool.
    """
    devices, here = lax.axis_size(axis_name), lax.axis_index(axis_name)

    def next_state(place, state):
        device = devices - 1 - place if reverse else place
        forgets = None if forgotten is None else forgotten[device]
        carried = zero_where(forgets, multiply(tuple(p[device] for p in products), state))
        return add(carried, tuple(s[device] for s in lasts))

    return lax.fori_loop(0, devices - 1 - here if reverse else here, next_state, first)


def is_first(axis_name: str, reverse: bool = False) -> Tensor:
    """Whether this device has the first steps, or with `reverse` the last ones: a bool."""
    return lax.axis_index(axis_name) == (lax.axis_size(axis_name) - 1 if reverse else 0)


def on_the_same_devices(tree, axis_name: str, *others: Tensor):
    """The same tensors, marked as varying over the axis, and over every axis over which `others` vary."""
    # A loop's carry, and the arguments of a custom gradient, must vary over the same axes on both sides. JAX then sums
    # the gradients of shared tensors at the point where they are shared.
    zero = 0 * lax.axis_index(axis_name)
    for other in others:
        zero = zero + 0 * jnp.isnan(other[(slice(0, 1),) * other.ndim].sum()).astype("int32")
    return jax.tree.map(lambda x: x | (zero > 0) if x.dtype == bool else x + zero.astype(x.dtype), tree)
