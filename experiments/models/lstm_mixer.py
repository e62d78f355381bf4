"""`keras.layers.LSTM` in the place of a mixer."""

from typing import NamedTuple

import keras
from keras import ops

from keras_griffin.layers import SequenceLayer
from keras_griffin.shapes import Tensor


class LSTMState(NamedTuple):
    """The state of `LSTMMixer`."""

    #: Both `(B, D)`.
    hidden: Tensor
    cell: Tensor


class LSTMMixer(SequenceLayer):
    """Mix along time with a `keras.layers.LSTM` of as many units as its inputs have channels.

    It continues from any state, but has no `reset`: Keras's layer reads a sequence without a way to forget in it.

    Call arguments:
        inputs: `(B, T, D)`.
        mask: `(B, T)` bool, optional; a False step leaves the state unchanged.

    State: `LSTMState`.

    Output shape: `(B, T, D)`.

    Raises:
        ValueError: `reset` is given.
    """

    def build(self, inputs_shape):
        """Create the LSTM."""
        super().build(inputs_shape)
        self.lstm = keras.layers.LSTM(
            self.width, return_sequences=True, return_state=True, name="lstm", dtype=self.dtype_policy
        )
        self.lstm.build(inputs_shape)

    def initial_state(self, batch_size: int) -> LSTMState:
        """Zeros."""
        self.require_built("initial_state")
        return LSTMState(*(ops.zeros((batch_size, self.width), self.compute_dtype) for _ in range(2)))

    def advance(self, inputs, state, *, reset=None, mask=None):
        """Continue from `state`; see `SequenceLayer.advance`."""
        if reset is not None:
            raise ValueError("LSTMMixer: there must be no reset, which keras.layers.LSTM has no argument for. Got one.")
        inputs, _, mask = self.prepare(inputs, None, mask)
        outputs, hidden, cell = self.lstm(inputs, initial_state=list(state), mask=mask)
        return outputs, LSTMState(hidden, cell)
