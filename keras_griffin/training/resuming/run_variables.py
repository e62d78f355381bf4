"""All variables that training moves, as arrays by name, and back."""

from collections.abc import Iterator, Mapping

import keras
import numpy as np

from keras_griffin.models.weights import as_array, assign

#: How many mistakes a message names.
NAMED_MISTAKES = 4


def copy_variables(model: keras.Model, with_metrics: bool) -> dict[str, np.ndarray]:
    """The values of a compiled model's variables, bit by bit.

    They are the weights, what layers carry from batch to batch (non-trainable variables and the states of
    `keras.random.SeedGenerator`), and all that the optimizer keeps: iterations, moments, gradients that it
    accumulates, averages, a learning rate without a schedule, the scale of the loss.

    Args:
        model: compiled, its optimizer built. Inside `fit` on JAX, after `model.jax_state_sync()`.
        with_metrics: whether the metrics of the epoch under way belong to it.

    Returns:
        Arrays by names such as `model/3/block_0/mlp/up/kernel`. On a CPU some are views of the variables.

    Raises:
        ValueError: this process holds but a part of a variable.
    """
    arrays = {}
    for kind, index, variable in _walk(model, with_metrics):
        # JAX's arrays say so; the other backends' processes hold whole variables.
        value = variable.value
        if not (getattr(value, "is_fully_addressable", True) or getattr(value, "is_fully_replicated", False)):
            raise ValueError(
                "ResumableRun: every variable must lie in this process as a whole; where several processes share them, "
                f"keras.callbacks.OrbaxCheckpoint saves each part. Got {variable.path} in parts."
            )
        arrays[f"{kind}/{index}/{variable.path}"] = as_array(variable)
    return arrays


def check_variables(model: keras.Model, arrays: Mapping[str, np.ndarray]) -> None:
    """Refuse arrays that are not for the variables of the model and its optimizer, before any is overwritten.

    Args:
        model: compiled, its optimizer built.
        arrays: as `copy_variables` gave them.

    Raises:
        ValueError: a number, shape or dtype is another.
    """
    stored = {_place(name): array for name, array in arrays.items()}
    places = {(kind, index): variable for kind, index, variable in _walk(model, with_metrics=False)}
    mistakes = [
        f"{variable.path} {tuple(variable.shape)} of {variable.dtype} where there was {_described(stored.get(place))}"
        for place, variable in places.items()
        if _described(stored.get(place)) != f"{tuple(variable.shape)} of {variable.dtype}"
    ]
    unused = [place for place in stored if place[0] in ("model", "optimizer") and place not in places]
    mistakes += [f"nothing where there was {_described(stored[place])}" for place in unused]
    if mistakes:
        more = len(mistakes) - NAMED_MISTAKES
        rest = [f"{more} more"] if more > 0 else []
        received = ", ".join([*mistakes[:NAMED_MISTAKES], *rest])
        raise ValueError(f"ResumableRun: the variables must be those of the run. Got {received}.")


def restore_variables(model: keras.Model, arrays: Mapping[str, np.ndarray]) -> None:
    """Give the variables of the model and its optimizer their values, which `check_variables` let pass."""
    stored = {_place(name): name for name in arrays}
    for kind, index, variable in _walk(model, with_metrics=False):
        assign(variable, arrays[stored[kind, index]])


def restore_metrics(model: keras.Model, arrays: Mapping[str, np.ndarray]) -> bool:
    """Give the metrics' variables their values; whether they are all there, which with TensorFlow a step must make."""
    stored = {index: name for name in arrays for kind, index in [_place(name)] if kind == "metrics"}
    if len(stored) != len(model.metrics_variables):
        return False
    for index, variable in enumerate(model.metrics_variables):
        assign(variable, arrays[stored[index]])
    return True


def _walk(model, with_metrics) -> Iterator[tuple[str, int, keras.Variable]]:
    groups = {"model": model.variables, "optimizer": model.optimizer.variables}
    if with_metrics:
        groups["metrics"] = model.metrics_variables
    for kind, variables in groups.items():
        for index, variable in enumerate(variables):
            yield kind, index, variable


def _place(name) -> tuple[str, int]:
    # By place and not by path: Keras numbers the names of a process's layers.
    kind, index, *_ = name.split("/")
    return kind, int(index) if index.isdecimal() else -1


def _described(array) -> str:
    return "nothing" if array is None else f"{tuple(array.shape)} of {array.dtype}"
