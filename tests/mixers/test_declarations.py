"""What each mixer says of itself before it is made is what it is once it is made."""

import keras
import numpy as np
import pytest

from keras_griffin.generation.capacity import walk
from keras_griffin.layers import UNITS
from keras_griffin.mixers import mixer_names
from keras_griffin.models import GriffinConfig
from keras_griffin.models.training.optimizer import optimizer_groups
from keras_griffin.testing.compiled import compiled

CONFIG = GriffinConfig(
    vocabulary_size=7,
    width=12,
    num_layers=1,
    num_heads=4,
    recurrence_width=24,
    head_dim=8,
    num_key_value_heads=2,
    conv_kernel_size=3,
    window=5,
    num_gate_blocks=6,
)


#: Each mixer by its name; and Griffin's block around each unit.
IN_THE_SHELL = {f"recurrent {unit}": {"mixer": "recurrent", "unit": unit} for unit in UNITS}


@pytest.fixture(params=[*mixer_names(), *IN_THE_SHELL])
def declared(request):
    """A mixer's class and its arguments for a model in which no two sizes are the same."""
    name = request.param
    options = {name: IN_THE_SHELL[name]} if name in IN_THE_SHELL else {}
    config = CONFIG.replace(block_pattern=(name,), mixer_options=options)
    return config.mixer_class(name), config.mixer_arguments(name)


def test_weights(declared):
    kind, arguments = declared
    mixer = kind(**arguments, name="mixer")
    mixer.build((None, None, 12))
    weights = kind.weights_of(12, **arguments)
    assert {path: weight.shape for path, weight in weights.items()} == {
        weight.path.removeprefix("mixer/"): tuple(weight.shape) for weight in mixer.weights
    }
    assert kind.parameter_count(12, **arguments) == mixer.count_params()
    for weight in weights.values():
        if weight.units is not None:
            # A unit is never cut.
            assert weight.shape[weight.split] % weight.units[1] == 0
            assert weight.split not in weight.stored
    groups = optimizer_groups(mixer.weights)
    spared = {weight.path for weight in (*groups["no_decay"], *groups["dynamics"]) if weight.ndim > 1}
    assert all(set(path.split("/")) & {*kind.undecayed, *UNITS, "dynamics", "bias"} for path in spared)


def test_state(declared):
    kind, arguments = declared
    mixer = kind(**arguments, dtype="mixed_bfloat16")
    mixer.build((None, None, 12))
    _, state = compiled(mixer.advance)(np.zeros((2, 9, 12), "float32"), mixer.initial_state(2))
    kept = kind.state_of(12, 9, **arguments)
    assert {path: (part.shape, part.dtype or "bfloat16") for path, part in kept.items()} == {
        ".".join(path): (tuple(leaf.shape[1:]), keras.backend.standardize_dtype(leaf.dtype))
        for path, leaf, _ in walk(state)
    }


def test_the_arguments_are_those_of_the_constructor(declared):
    kind, arguments = declared
    assert set(arguments) <= set(kind.argument_names())
    assert not {"name", "dtype", "kwargs"} & set(kind.argument_names())
