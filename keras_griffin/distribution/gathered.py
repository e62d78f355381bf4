"""The whole of a model that several processes train, in each of them."""

import contextlib
import importlib

import keras

from keras_griffin import backends
from keras_griffin.models.parameters import processes_of
from keras_griffin.models.training.first_batch import FirstBatch


def gathered(model: keras.Model) -> contextlib.AbstractContextManager:
    """A `with` block in which each process has the whole model and its optimizer, and computes on its own.

    Every process must enter and leave the block. Inside, each process may save, decode, evaluate or read alone. A value
    that is assigned there, as by `load_weights`, must be assigned by every process: on JAX this is checked at the end
    of the block. Training inside it is refused on PyTorch; on JAX, what one process trains alone ends in that error.

    Args:
        model: a `LanguageModel` after `data_parallel` or `fully_shard`, or one that was created under a
            `keras.distribution` of several processes; or its `packed()` or `carried()` model, whose optimizer is
            gathered then. The whole must fit into the memory of one device.

    Raises:
        ValueError: one process has the model, or, at the end of the block on JAX, values differ between processes.
    """
    if keras.backend.backend() == "jax" and backends.active().process()[1] > 1:
        return importlib.import_module("keras_griffin.distribution.jax_gathered").gathered(model)
    processes = processes_of(model) if isinstance(model, FirstBatch) else None
    if processes is None:
        raise ValueError(f"gathered: several processes must have the model. Got {model!r}, which one has.")
    return processes.gathered(model)
