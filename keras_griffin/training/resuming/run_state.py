"""What training changes, as arrays by name and JSON, and back: variables and callbacks.

The attributes of Keras's own callbacks to save are listed here. Another callback lists its own as `saved_attributes`;
their values are numbers, texts, None, lists and dicts of these, or lists of arrays.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import keras
import numpy as np

from keras_griffin.files import atomic_file
from keras_griffin.models.saving.weights import as_array, assign
from keras_griffin.training.resuming.run_description import check_same

#: The attributes to save, by the callback's class.
_SAVED_ATTRIBUTES = {
    keras.callbacks.EarlyStopping: ("wait", "stopped_epoch", "best", "best_epoch", "best_weights"),
    keras.callbacks.History: ("epoch", "history"),
    keras.callbacks.ModelCheckpoint: ("best",),
    keras.callbacks.ReduceLROnPlateau: ("wait", "best", "cooldown_counter"),
}


def copy_variables(model: keras.Model, with_metrics: bool) -> dict[str, np.ndarray]:
    """The values of a compiled model's variables, bit by bit, by names such as `model/3/block_0/mlp/up/kernel`.

    They are the weights, the state that layers carry from batch to batch (non-trainable variables and the states of
    `keras.random.SeedGenerator`), and the state of the optimizer: iterations, moments, accumulated gradients, averages,
    a learning rate without a schedule, the loss scale. On a CPU some arrays are views of the variables.

    Args:
        model: compiled, its optimizer built. Inside `fit` on JAX, after `model.jax_state_sync()`.
        with_metrics: whether to include the metrics of the current epoch.

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

    Raises:
        ValueError: their number, a shape or a dtype differs.
    """
    names, given = {}, {}
    for kind, index, variable in _walk(model, with_metrics=False):
        names[kind, index] = name = f"{kind}/{index}/{variable.path}"
        given[name] = _described(variable)
    saved = {names.get(_place(name), name): _described(array) for name, array in arrays.items() if _is_checked(name)}
    check_same("the variables must be those of the run", saved, given)


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


def callback_states(callbacks: Iterable[keras.callbacks.Callback]) -> tuple[dict, dict[str, np.ndarray]]:
    """The state of callbacks: JSON by their class and number, and arrays by names that begin with `callbacks/`."""
    states, arrays = {}, {}
    for key, callback in _numbered(callbacks):
        state = {}
        if isinstance(callback, keras.callbacks.CSVLogger) and os.path.exists(callback.filename):
            # The file and not its rows: it is restored byte for byte, whatever has been written or lost since.
            state["text"] = Path(callback.filename).read_bytes().decode("utf-8")
        for name in _saved_attributes(callback):
            value = getattr(callback, name)
            if isinstance(value, list) and value and all(isinstance(part, np.ndarray) for part in value):
                arrays.update({f"callbacks/{key}/{name}/{index}": part for index, part in enumerate(value)})
            else:
                state[name] = value
        if state:
            states[key] = state
    return states, arrays


def restore_logs(callbacks: Iterable[keras.callbacks.Callback], states: Mapping[str, dict]) -> None:
    """Restore the file of each `CSVLogger`, to append to; call it before `on_train_begin`, which opens the file."""
    for key, callback in _numbered(callbacks):
        if "text" in states.get(key, {}) and isinstance(callback, keras.callbacks.CSVLogger):
            with atomic_file(callback.filename) as aside:
                aside.write_bytes(states[key]["text"].encode("utf-8"))
            callback.append = True


def restore_callbacks(
    callbacks: Iterable[keras.callbacks.Callback], states: Mapping[str, dict], arrays: Mapping[str, np.ndarray]
) -> None:
    """Restore the state of callbacks; call it after `on_train_begin`, which resets some."""
    for key, callback in _numbered(callbacks):
        for name in _saved_attributes(callback):
            prefix = f"callbacks/{key}/{name}/"
            places = sorted(int(place.removeprefix(prefix)) for place in arrays if place.startswith(prefix))
            if places:
                setattr(callback, name, [np.array(arrays[f"{prefix}{place}"]) for place in places])
            elif name in states.get(key, {}):
                setattr(callback, name, states[key][name])


def _walk(model, with_metrics) -> Iterator[tuple[str, int, keras.Variable]]:
    groups = {"model": model.variables, "optimizer": model.optimizer.variables}
    if with_metrics:
        groups["metrics"] = model.metrics_variables
    for kind, variables in groups.items():
        for index, variable in enumerate(variables):
            yield kind, index, variable


def _place(name) -> tuple[str, int]:
    """The kind and the number; not the path: the names that Keras numbers may differ between processes."""
    kind, index, *_ = name.split("/")
    return kind, int(index) if index.isdecimal() else -1


def _is_checked(name) -> bool:
    return name.startswith(("model/", "optimizer/"))


def _described(array) -> str:
    return f"{tuple(array.shape)} of {array.dtype}"


def _saved_attributes(callback) -> tuple[str, ...]:
    known = next((names for kind, names in _SAVED_ATTRIBUTES.items() if isinstance(callback, kind)), ())
    return (*known, *getattr(callback, "saved_attributes", ()))


def _numbered(callbacks):
    """Each callback with its class and its number among those of that class."""
    count: dict = {}
    for callback in callbacks:
        name = type(callback).__name__
        count[name] = count.get(name, -1) + 1
        yield f"{name} {count[name]}", callback
