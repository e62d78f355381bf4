"""A model that is made in a moment, and in which every layer matters."""

import numpy as np

from keras_griffin.models import GriffinConfig
from keras_griffin.testing.arrays import as_array

#: A block of each kind that a Griffin has. A test that is about another size replaces that.
TINY = GriffinConfig(
    vocabulary_size=13,
    width=16,
    num_layers=2,
    num_heads=2,
    window=5,
    num_gate_blocks=4,
    block_pattern=("recurrent", "local_mqa"),
)


def strong(model):
    """A model, its weights made large enough that every layer matters."""
    for i, weight in enumerate(model.weights):
        weight.assign(as_array(weight) + 0.2 * np.random.default_rng(i).normal(size=weight.shape))
    return model


def adapted(model, rank=2, **kwargs):
    """A model with adapters that matter, as after training."""
    model.enable_lora(rank, **kwargs)
    for index, variable in enumerate(model.lora.variables.values()):
        variable.assign(0.2 * np.random.default_rng(index).normal(size=variable.shape))
    return model
