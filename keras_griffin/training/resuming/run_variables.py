"""All variables that training changes, as arrays by name, and back."""

from collections.abc import Iterator, Mapping

import keras
import numpy as np

from keras_griffin.models.weights import as_array, assign

#: How many mistakes a message names.
NAMED_MISTAKES = 4


def copy_variables(model: keras.Model, with_metrics: bool) -> dict[str, np.ndarray]:
    """The values of a compiled model's variables, bit by bit.

    They are the weights, the state that layers carry from batch to batch (non-trainable variables and the states of
    `keras.random.SeedGenerator`), and the state of the optimizer: iterations, moments, accumulated gradients, averages,
    a learning rate without a schedule, the loss scale.

    Args:
        model: compiled, its optimizer built. Inside `fit` on JAX, after `model.jax_state_sync()`.
        with_metrics: whether to include the metrics of the current epoch.

    Returns:
        Arrays by names such as `model/3/block_0/mlp/up/kernel`. On a CPU some are views of the variables.

    Raises:
        ValueError: this process holds only a part of a variable.
    """
    arrays = {}
    for kind, index, variable in _walk(model, with_metrics):
        # JAX's arrays may be partial; processes of the other backends hold whole variables.
        value = variable.value
        if not (getattr(value, "is_fully_addressable", True) or getattr(value, "is_fully_replicated", False)):
            raise ValueError(
                "ResumableRun: this process must hold the whole of every variable; if several processes share them, "
                f"keras.callbacks.OrbaxCheckpoint saves each part. Got {variable.path} in parts."
            )
        arrays[f"{kind}/{index}/{variable.path}"] = as_array(variable)
    return arrays


def check_variables(model: keras.Model, arrays: Mapping[str, np.ndarray]) -> None:
    """Check that arrays match the variables of the model and its optimizer, before any is overwritten.

    Args:
        model: compiled, its optimizer built.
        arrays: from `copy_variables`.

    Raises:
        ValueError: their number, a shape or a dtype differs.
    """
    stored = {_place(name): array for name, array in arrays.items()}
    places = {(kind, index): variable for kind, index, variable in _walk(model, with_metrics=False)}
    mistakes = [
        f"{variable.path} {tuple(variable.shape)} of {variable.dtype} instead of {_described(stored.get(place))}"
        for place, variable in places.items()
        if _described(stored.get(place)) != f"{tuple(variable.shape)} of {variable.dtype}"
    ]
    unused = [place for place in stored if place[0] in ("model", "optimizer") and place not in places]
    mistakes += [f"nothing instead of {_described(stored[place])}" for place in unused]
    if mistakes:
        more = len(mistakes) - NAMED_MISTAKES
        rest = [f"{more} more"] if more > 0 else []
        received = ", ".join([*mistakes[:NAMED_MISTAKES], *rest])
        raise ValueError(f"ResumableRun: the variables must be those of the run. Got {received}.")


def restore_variables(model: keras.Model, arrays: Mapping[str, np.ndarray]) -> None:
    """Restore the variables of the model and its optimizer from arrays that passed `check_variables`."""
    stored = {_place(name): name for name in arrays}
    for kind, index, variable in _walk(model, with_metrics=False):
        assign(variable, arrays[stored[kind, index]])


def restore_metrics(model: keras.Model, arrays: Mapping[str, np.ndarray]) -> bool:
    """Restore the metrics' variables; False if they do not all exist yet, as on TensorFlow before the first step."""
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
    # By place and not by path: the names that Keras numbers may differ between processes.
    kind, index, *_ = name.split("/")
    return kind, int(index) if index.isdecimal() else -1


def _described(array) -> str:
    return "nothing" if array is None else f"{tuple(array.shape)} of {array.dtype}"
