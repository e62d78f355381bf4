"""Meshes of the CPU's eight devices, and what they send each other."""

import re

import jax
import keras


def mesh_of(devices, axis_name="time"):
    """A mesh of so many devices along one axis."""
    names = keras.distribution.list_devices()[:devices]
    return keras.distribution.DeviceMesh((devices,), (axis_name,), names)


def divided(function, devices, in_specs, out_specs, **options):
    """A function of each device's part, with the axis `time` divided over so many devices."""
    mesh = mesh_of(devices).backend_mesh
    return jax.jit(jax.shard_map(function, mesh=mesh, in_specs=in_specs, out_specs=out_specs, **options))


def collectives(program):
    """Each message in a compiled program: its kind, and the type of what a device has afterwards."""
    kinds = "all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter|collective-broadcast"
    return sorted(
        (kind, shape) for shape, kind in re.findall(rf"= (\S+|\(.*?\)) ({kinds})(?:-start)?\(", program.as_text())
    )
