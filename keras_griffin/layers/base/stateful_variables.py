"""The state of a stateful layer between calls."""

import keras
import numpy as np
from keras import ops

from keras_griffin.shapes import State, Tensor


class StatefulVariables(keras.layers.Layer):
    """The state of B rows, at first `start`, in variables that are not weights and are not saved."""

    def __init__(self, start: State, **kwargs):
        super().__init__(**kwargs)
        self._start = keras.tree.map_structure(ops.convert_to_numpy, start)
        self.leaves = [self._variable(name, array) for name, array in _leaves_of(self._start)]
        self.built = True

    def _variable(self, name, array):
        def value(shape, dtype):
            return ops.convert_to_tensor(array, dtype)

        return self.add_weight(array.shape, value, array.dtype.name, trainable=False, autocast=False, name=name)

    @property
    def weights(self):
        """Empty, as with a stateful LSTM, so that `set_weights` takes a stateless layer's; `variables` has it."""
        return []

    @staticmethod
    def batch_size_of(owner: str, inputs_shape: tuple) -> int:
        """The batch size for which a layer is built; raises if it is unknown."""
        if inputs_shape[0] is None:
            raise ValueError(f"{owner}: a stateful layer must know its batch size. Got inputs {inputs_shape}.")
        return inputs_shape[0]

    def check_rows(self, owner: str, inputs: Tensor) -> None:
        """Raise for inputs with another number of rows."""
        rows = self.leaves[0].shape[0]
        if inputs.shape[0] not in (None, rows):
            raise ValueError(
                f"{owner}: a stateful layer's batches must have the size it was built with, {rows}. "
                f"Got inputs {tuple(inputs.shape)}."
            )

    def read(self) -> State:
        """A copy of the state: PyTorch overwrites it with the next one before the gradients are computed."""
        return keras.tree.pack_sequence_as(self._start, [ops.copy(leaf.value) for leaf in self.leaves])

    def write(self, state: State) -> None:
        """Store a state; no gradient flows back from later calls."""
        for variable, leaf in zip(self.leaves, keras.tree.flatten(state), strict=True):
            variable.assign(ops.stop_gradient(leaf))

    def reset(self) -> None:
        """Restore the state before the first step."""
        for variable, (_, array) in zip(self.leaves, _leaves_of(self._start), strict=True):
            variable.assign(array)

    def save_own_variables(self, store):
        """A saved model starts afresh."""

    def load_own_variables(self, store):
        """A loaded model starts afresh."""


def _leaves_of(state, prefix: str = "") -> list[tuple[str, np.ndarray]]:
    """The leaves in order, each with the names of the fields that lead to it."""
    if not isinstance(state, tuple):
        return [(prefix, state)]
    names = getattr(state, "_fields", range(len(state)))
    return [
        leaf
        for name, part in zip(names, state, strict=True)
        for leaf in _leaves_of(part, f"{prefix}_{name}" if prefix else str(name))
    ]
