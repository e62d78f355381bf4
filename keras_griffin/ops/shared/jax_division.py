"""Kernels under `keras.distribution`: each device runs a kernel on its own rows of the batch and its own channels.

XLA can't divide a kernel, so `shard_map` does. Rows and channels are independent, so devices exchange nothing inside a
kernel; XLA adds up a gradient's sums over them afterwards.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import keras
from jax import numpy as jnp
from jax.sharding import Mesh, PartitionSpec


class Division(NamedTuple):
    """The devices over which kernels are divided. Programs are compiled for one division, so it is hashable."""

    mesh: Mesh
    #: The axis of the mesh that divides the batch; None if none does. All other axes divide channels, or heads.
    batch_axis: str | None

    def axes(self, rows: int, channels: int) -> dict[str, tuple[str, ...]]:
        """The mesh's axes that divide rows (`b`) and channels (`c`): along others, all devices compute the same."""
        divided: dict[str, tuple[str, ...]] = {"b": (), "c": ()}
        for axis, size in self.mesh.shape.items():
            letter, number = ("b", rows) if axis == self.batch_axis else ("c", channels)
            if number % (size * self._parts(divided[letter])) == 0:
                divided[letter] += (axis,)
        return divided

    def parts_of_channels(self, channels: int) -> int:
        """Into how many parts so many channels, or heads, are divided."""
        return self._parts(self.axes(1, channels)["c"])

    def _parts(self, axes):
        return math.prod(self.mesh.shape[axis] for axis in axes)


def active_division() -> Division | None:
    """The division of the active `keras.distribution`, or None."""
    # Inside `shard_map` each device has its own part of every array already.
    distribution = keras.distribution.distribution()
    if distribution is None or inside_shard_map():
        return None
    return Division(distribution.device_mesh.backend_mesh, distribution.batch_dim_name)


def inside_shard_map() -> bool:
    """Whether the function being traced is mapped over devices."""
    return bool(jax.sharding.get_abstract_mesh().manual_axes)


def on_each_device(function: Callable, division: Division | None, sizes: tuple[int, int], arguments, axes, results):
    """The function's results, for which each device computes with its own parts of the arguments.

    `sizes` are the numbers of rows and channels. `axes` has for each argument, and `results` for the results, a tree,
    or the beginning of one, of strings with a letter for each axis of an array: `b` for rows, `c` for channels, `-` for
    an axis that is not divided.
    """
    if division is None:
        return function(*arguments)
    names: dict[str, tuple[str, ...] | None] = {**division.axes(*sizes), "-": None}

    def specs(axes):
        return jax.tree.map(lambda letters: PartitionSpec(*(names[letter] or None for letter in letters)), axes)

    # Pallas's interpreter doesn't follow over which devices an array varies, nor do Splash's kernels.
    options = {"mesh": division.mesh, "in_specs": specs(axes), "out_specs": specs(results), "check_vma": False}
    return jax.shard_map(function, **options)(*arguments)


def varying_with(sequence, states, channels=None):
    """Trees of `(B, D)` and of `(D,)`, unchanged except that they vary over the devices of `(B, T, D)`."""
    # Inside `shard_map` JAX then sums their gradients over the devices that hold copies of them.
    if not inside_shard_map():
        return states, channels
    nothing = 0.0 * jnp.isnan(sequence[:, 0]).astype(jnp.float32)
    states = jax.tree.map(lambda x: x + nothing.astype(x.dtype), states)
    return states, jax.tree.map(lambda x: x + nothing[0].astype(x.dtype), channels)
