"""Meshes of TPU chips that need not be there, to compile for."""

import contextlib

import keras
import numpy as np
import pytest

#: What the compiler asks the machine for; without it, it looks for a TPU in the cloud.
ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",
    # Where there is no TPU to fight for, several processes may load it.
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


@contextlib.contextmanager
def chips(topology):
    """The chips of a topology, such as "v5e:2x4"; the compiler finds its environment inside the `with` block."""
    from jax.experimental import topologies

    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        yield topologies.get_topology_desc(topology, platform="tpu").devices


def mesh_of_chips(devices, shape, axis_names=("batch", "model")):
    """A mesh of Keras's over chips."""
    import jax

    class Chips(keras.distribution.DeviceMesh):
        backend_mesh = jax.sharding.Mesh(np.array(devices).reshape(shape), axis_names)

    return Chips(shape, list(axis_names), [f"tpu:{i}" for i in range(len(devices))])
