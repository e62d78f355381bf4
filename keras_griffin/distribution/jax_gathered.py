"""A model that `keras.distribution` has divided over processes of JAX, whole on a device of each."""

import contextlib
from collections.abc import Iterator

import jax
import keras

from keras_griffin import backends


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
        for (variable, parts, layout), value in zip(kept, whole, strict=True):
            new, variable._value, variable._layout = variable._value, parts, layout
            if new is not value:
                variable.assign(new)
