"""A model that `keras.distribution` has divided over processes of JAX, whole on a device of each."""

import contextlib
from collections.abc import Iterator

import jax
import keras
import numpy as np

from keras_griffin import backends
from keras_griffin.models.saving.checksums import array_crc32


@contextlib.contextmanager
def gathered(model: keras.Model) -> Iterator[None]:
    """See `keras_griffin.distribution.gathered`."""
    variables = [*model.variables, *getattr(model.optimizer, "variables", ())]
    distribution, device = keras.distribution.distribution(), jax.local_devices()[0]
    kept = [(variable, variable._value, variable._layout) for variable in variables]
    whole = [jax.device_put(backends.active().whole(variable.value), device) for variable in variables]
    for variable, value in zip(variables, whole, strict=True):
        # Without its layout: a value that is assigned here stays whole.
        variable._value, variable._layout = value, None
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(distribution)
        assigned = [variable._value for variable in variables]
        for variable, parts, layout in kept:
            variable._value, variable._layout = parts, layout
    changed = [new is not old for new, old in zip(assigned, whole, strict=True)]
    _check_same(
        variables, [array_crc32(np.asarray(new)) if each else 0 for new, each in zip(assigned, changed, strict=True)]
    )
    for variable, new, each in zip(variables, assigned, changed, strict=True):
        if each:
            variable.assign(new)


def _check_same(variables, checksums):
    """Check that every process has assigned the same values."""
    of_all = backends.active().gathered(np.array(checksums, "uint32"))
    different = [variable.path for variable, each in zip(variables, of_all.T, strict=True) if len(set(each)) > 1]
    if different:
        raise ValueError(
            "gathered: a value must be assigned in every process or in none, and be the same. Got different ones for "
            f"{different[0]}."
        )
