"""What training changes, as arrays by name and JSON, and back: variables and callbacks.

A callback lists the attributes to save as `saved_attributes`; their values are numbers, texts, None, lists and dicts of
these, or lists of arrays.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np

from keras_griffin.files import atomic_file
from keras_griffin.models.saving.weights import assign
from keras_griffin.training.resuming.processes import Processes
from keras_griffin.training.resuming.run_description import check_same

Callbacks = Sequence[keras.callbacks.Callback]

#: The attributes of Keras's own callbacks.
_SAVED_ATTRIBUTES = {
    keras.callbacks.EarlyStopping: ("wait", "stopped_epoch", "best", "best_epoch", "best_weights"),
    keras.callbacks.History: ("epoch", "history"),
    keras.callbacks.ModelCheckpoint: ("best",),
    keras.callbacks.ReduceLROnPlateau: ("wait", "best", "cooldown_counter"),
}


def copy_variables(model: keras.Model, with_metrics: bool, processes: Processes) -> dict[str, np.ndarray]:
    """The variables of a model and its optimizer, bit by bit, by names such as `model/3/block_0/mlp/up/kernel`.

    What processes hold in parts is gathered. On a CPU some arrays are views of the variables.
    """
    rows = _shared_rows(model)
    return {
        _name(place, variable): processes.whole(variable, id(variable) in rows)
        for place, variable in _walk(model, with_metrics)
    }


def check_variables(model: keras.Model, arrays: Mapping[str, np.ndarray], processes: Processes) -> None:
    """Check that arrays match the variables of the model and its optimizer, before any is overwritten."""
    rows = _shared_rows(model)
    names = {place: _name(place, variable) for place, variable in _walk(model)}
    given = {
        names[place]: _described(variable, processes.count if id(variable) in rows else 1)
        for place, variable in _walk(model)
    }
    saved = {
        names.get(place_of(name), name): _described(array)
        for name, array in arrays.items()
        if name.startswith(("model/", "optimizer/"))
    }
    check_same("the variables must be those of the run", saved, given)


def restore_variables(model: keras.Model, arrays: Mapping[str, np.ndarray], processes: Processes) -> None:
    """Restore the variables of the model and its optimizer from arrays that passed `check_variables`."""
    stored, rows = {place_of(name): name for name in arrays}, _shared_rows(model)
    for place, variable in _walk(model):
        array = arrays[stored[place]]
        assign(variable, processes.own_rows(array) if id(variable) in rows else array)


def restore_metrics(model: keras.Model, arrays: Mapping[str, np.ndarray], share: float) -> bool:
    """Restore the metrics' variables, times `share`.

    False if they do not all exist yet, as on TensorFlow before the first step.
    """
    stored = {place_of(name): name for name in arrays if name.startswith("metrics/")}
    if len(stored) != len(model.metrics_variables):
        return False
    for index, variable in enumerate(model.metrics_variables):
        array = arrays[stored["metrics", str(index)]]
        assign(variable, (share * array).astype(array.dtype))
    return True


def callback_states(callbacks: Callbacks) -> tuple[dict, dict[str, np.ndarray]]:
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


def restore_logs(callbacks: Callbacks, states: Mapping[str, dict]) -> None:
    """Restore the file of each `CSVLogger`, to append to; call it before `on_train_begin`, which opens the file."""
    for key, callback in _numbered(callbacks):
        if "text" in states.get(key, {}) and isinstance(callback, keras.callbacks.CSVLogger):
            with atomic_file(callback.filename) as aside:
                aside.write_bytes(states[key]["text"].encode("utf-8"))
            callback.append = True


def restore_callbacks(callbacks: Callbacks, states: Mapping[str, dict], arrays: Mapping[str, np.ndarray]) -> None:
    """Restore the state of callbacks; call it after `on_train_begin`, which resets some."""
    for key, callback in _numbered(callbacks):
        for name in _saved_attributes(callback):
            prefix = f"callbacks/{key}/{name}/"
            places = sorted(int(place.removeprefix(prefix)) for place in arrays if place.startswith(prefix))
            if places:
                setattr(callback, name, [np.array(arrays[f"{prefix}{place}"]) for place in places])
            elif name in states.get(key, {}):
                setattr(callback, name, states[key][name])


def place_of(name: str) -> tuple[str, ...]:
    """The kind and the number of a variable: the names that Keras numbers may differ between processes."""
    return (name,) if name.startswith("callbacks/") else tuple(name.split("/")[:2])


def _name(place, variable) -> str:
    return "/".join([*place, variable.path])


def _walk(model, with_metrics=False) -> Iterator[tuple[tuple[str, ...], keras.Variable]]:
    groups = {"model": model.variables, "optimizer": model.optimizer.variables}
    if with_metrics:
        groups["metrics"] = model.metrics_variables
    for kind, variables in groups.items():
        for index, variable in enumerate(variables):
            yield (kind, str(index)), variable


def _shared_rows(model) -> set[int]:
    """The variables whose rows are those of a batch, B / P in each process."""
    return {id(variable) for variable in getattr(model, "shared_rows", list)()}


def _described(array, count=1) -> str:
    rows = [count * size for size in array.shape[:1]]
    return f"{(*rows, *array.shape[1:])} of {array.dtype}"


def _saved_attributes(callback) -> tuple[str, ...]:
    known = next((names for kind, names in _SAVED_ATTRIBUTES.items() if isinstance(callback, kind)), ())
    return (*known, *getattr(callback, "saved_attributes", ()))


def _numbered(callbacks):
    """Each callback with its class and its number among those of that class."""
    counts: Counter[str] = Counter()
    for callback in callbacks:
        name = type(callback).__name__
        yield f"{name} {counts[name]}", callback
        counts[name] += 1
