"""The state of callbacks as JSON and arrays, and back.

For Keras's own callbacks the attributes are listed here. Another callback lists the attributes to save in an attribute
`kept`; their values are numbers, texts, None, lists and dicts of these, or lists of arrays.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import keras
import numpy as np

from keras_griffin.files import atomic_file

#: The attributes to save by the callback's class.
_KEPT = {
    keras.callbacks.EarlyStopping: ("wait", "stopped_epoch", "best", "best_epoch", "best_weights"),
    keras.callbacks.History: ("epoch", "history"),
    keras.callbacks.ModelCheckpoint: ("best",),
    keras.callbacks.ReduceLROnPlateau: ("wait", "best", "cooldown_counter"),
}


def callback_states(callbacks: Iterable[keras.callbacks.Callback]) -> tuple[dict, dict[str, np.ndarray]]:
    """The state of callbacks: JSON by their class and number, and arrays by names that begin with `callbacks/`."""
    states, arrays = {}, {}
    for key, callback in _numbered(callbacks):
        state = {}
        if isinstance(callback, keras.callbacks.CSVLogger) and os.path.exists(callback.filename):
            # The file and not its rows: it is restored byte for byte, whatever has been written or lost since.
            state["text"] = Path(callback.filename).read_bytes().decode("utf-8")
        for name in _kept(callback):
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
        for name in _kept(callback):
            prefix = f"callbacks/{key}/{name}/"
            places = sorted(int(place.removeprefix(prefix)) for place in arrays if place.startswith(prefix))
            if places:
                setattr(callback, name, [np.array(arrays[f"{prefix}{place}"]) for place in places])
            elif name in states.get(key, {}):
                setattr(callback, name, states[key][name])


def _kept(callback) -> tuple[str, ...]:
    known = next((names for kind, names in _KEPT.items() if isinstance(callback, kind)), ())
    return (*known, *getattr(callback, "kept", ()))


def _numbered(callbacks):
    """Each callback with its class and its number among those of that class."""
    count: dict = {}
    for callback in callbacks:
        name = type(callback).__name__
        count[name] = count.get(name, -1) + 1
        yield f"{name} {count[name]}", callback
