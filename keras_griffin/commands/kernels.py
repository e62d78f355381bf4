"""Which kernels a model uses, as recorded while it is traced, and which selected ones it does not."""

import os
import sys
from collections.abc import Iterable

import keras
import numpy as np

from keras_griffin.commands.errors import CommandError, refusals
from keras_griffin.models import LanguageModel
from keras_griffin.names import did_you_mean
from keras_griffin.ops.implementation import VARIABLE_PREFIX, Choice, Op, recorded_choices, use_implementation


class _Forward(keras.Operation):
    """A model's training outputs, as one operation whose shapes Keras infers by tracing it."""

    def __init__(self, model: LanguageModel):
        super().__init__()
        self.model = model

    def call(self, token_ids):
        """`(B, T)` to `(B, T, V)`."""
        return self.model(token_ids, training=True)


def training_kernels(model: LanguageModel, batch_size: int, length: int) -> dict[str, str]:
    """The implementation of each op that a training step of the model calls, in the order of the calls.

    The model is traced, not trained. An op that is called in several ways may have several names.

    Args:
        model: built.
        batch_size: B.
        length: T.

    Raises:
        ValueError: a selected implementation does not exist or does not support these calls.
    """
    with recorded_choices() as choices:
        if keras.backend.backend() == "torch":
            # PyTorch traces by running. Keras would run it on the device "meta", which has other implementations.
            model(np.zeros((batch_size, length), "int32"), training=True)
        else:
            _Forward(model).compute_output_spec(keras.KerasTensor((batch_size, length), "int32"))
    names: dict[str, dict[str, None]] = {}
    for choice in choices:
        names.setdefault(choice.op_name, {})[choice.implementation] = None
    return {op_name: " and ".join(found) for op_name, found in names.items()}


def requests() -> dict[str, str]:
    """The environment's selections by op: the variable with its value, such as `KERAS_GRIFFIN_RG_LRU=portable`.

    Raises:
        CommandError: a variable names no op, or its value names no implementation.
    """
    variables = {op.variable: op for op in Op.registry.values()}
    asked = {}
    for variable, value in sorted(os.environ.items()):
        if not variable.startswith(VARIABLE_PREFIX) or not value:
            continue
        if variable not in variables:
            raise CommandError(
                f"{variable}: a variable that selects an implementation must be one of "
                f"{', '.join(sorted(variables))}. Got {variable!r}{did_you_mean(variable, variables)}"
            )
        op = variables[variable]
        with refusals(), use_implementation(op.name, value):
            pass
        asked[op.name] = f"{variable}={value}"
    return asked


def unused(asked: dict[str, str], used: Iterable[str]) -> str | None:
    """A sentence on the variables whose ops are not in use; None if all are."""
    used = list(used)
    idle = [variable for op_name, variable in asked.items() if op_name not in used]
    calls = f"calls only {', '.join(used)}" if used else "calls no such op"
    return f"{', '.join(idle)}: the model {calls}" if idle else None


def tell_unused(asked: dict[str, str], choices: Iterable[Choice]) -> None:
    """Report on standard error the selections that the recorded choices do not use."""
    idle = unused(asked, dict.fromkeys(choice.op_name for choice in choices))
    if idle is not None:
        print(f"Not used: {idle}.", file=sys.stderr)
