"""Shared by RG-LRU and CG-LRU: Keras's conventions for recurrent layers, around a scan."""

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_griffin.checks import FLAG, checked
from keras_griffin.layers.kept_state import KeptState
from keras_griffin.layers.lstm_habits import check_no_lstm_arguments, hidden_of
from keras_griffin.layers.sequence_layer import SequenceLayer
from keras_griffin.shapes import Tensor


class RecurrentUnitState(NamedTuple):
    """The state of a recurrent unit."""

    #: `(B, R)`, float32 whatever the compute dtype: h after the last step.
    hidden: Tensor


class RecurrentUnit(SequenceLayer):
    """A layer whose state is one vector, with the options of `keras.layers.LSTM`.

    A subclass defines `scan(inputs, hidden, reset, mask) -> (outputs, hidden)` and creates its weights in
    `build_weights`.

    Args:
        return_sequences: return every step's output; otherwise, as in Keras, only the last.
        return_state: also return the final hidden state, after the outputs.
        go_backwards: run from the last step to the first; outputs are in the order in which they are computed.
        stateful: start each call where the last one ended, until `reset_state`.
        **kwargs: `name`, `dtype` and `trainable`, as for every Keras layer.

    Raises:
        ValueError: an argument is positional, belongs to an LSTM, or has a wrong type.
    """

    def __new__(cls, *positional, **options):
        """Refuse an LSTM's arguments that this layer lacks. Not in `__init__`, whose signature must not list them."""
        check_no_lstm_arguments(cls, positional, options)
        return super().__new__(cls, *positional, **options)

    def __init__(
        self,
        *,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        name = type(self).__name__
        self.return_sequences = checked(name, FLAG, return_sequences=return_sequences)
        self.return_state = checked(name, FLAG, return_state=return_state)
        self.go_backwards = checked(name, FLAG, go_backwards=go_backwards)
        self.stateful = checked(name, FLAG, stateful=stateful)
        # Keras's Bidirectional sets this to True, so that the padding of the two directions does not mix.
        self.zero_output_for_mask = False

    def build(self, inputs_shape):
        """Create the weights, and the kept state of a stateful layer."""
        super().build(inputs_shape)
        self.build_weights(self.width)
        if self.stateful:
            if inputs_shape[0] is None:
                raise ValueError(
                    f"{type(self).__name__}: a stateful layer must know its batch size. Got inputs {inputs_shape}."
                )
            start = RecurrentUnitState(np.zeros((inputs_shape[0], self.width), "float32"))
            self.kept_state = KeptState(start, name="kept_state", dtype="float32")

    def build_weights(self, width: int) -> None:
        """Create the weights for inputs of the given width."""
        raise NotImplementedError(f"build_weights: {type(self).__name__} must define it.")

    def scan(self, inputs: Tensor, hidden: Tensor, reset: Tensor | None, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Run the recurrence over `(B, T, R)` from `(B, R)`; returns outputs and the final hidden state."""
        raise NotImplementedError(f"scan: {type(self).__name__} must define it.")

    def initial_state(self, batch_size: int) -> RecurrentUnitState:
        """Zeros."""
        self.require_built("initial_state")
        return RecurrentUnitState(ops.zeros((batch_size, self.width), "float32"))

    def advance(
        self, inputs: Tensor, state: RecurrentUnitState, *, reset: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, RecurrentUnitState]:
        """Continue from `state`; see `SequenceLayer.advance`. Always forward in time, always every output."""
        inputs, reset, mask = self.prepare(inputs, reset, mask)
        outputs, hidden = self.scan(inputs, state.hidden, reset, mask)
        return outputs, RecurrentUnitState(hidden)

    def call(self, inputs, initial_state=None, *, reset=None, mask=None):
        """Run over the whole sequence.

        Args:
            inputs: `(B, T, R)`.
            initial_state: h, `(B, R)`, or a list that holds it; zeros (or the kept state, if stateful) by default.
            reset: `(B, T)` bool; at a True step everything before it, in the order of processing, is forgotten.
            mask: `(B, T)` bool; a False step leaves the state unchanged and repeats its output.

        Returns:
            The outputs, `(B, T, R)`, or `(B, R)` for the last step alone; with `return_state` a list of the outputs and
            the final state `(B, R)`, float32.

        Raises:
            ValueError: a shape does not fit, or the initial state is a list of more than h.
        """
        reset, mask = (mark if mark is None else ops.cast(mark, "bool") for mark in (reset, mask))
        if self.go_backwards:
            inputs, reset, mask = (x if x is None else ops.flip(x, axis=1) for x in (inputs, reset, mask))
        outputs, state = self.advance(inputs, self._starting_state(inputs, initial_state), reset=reset, mask=mask)
        if self.stateful:
            self.kept_state.write(state)
        if not self.return_sequences:
            outputs = ops.cast(state.hidden, self.compute_dtype)
        elif self.zero_output_for_mask and mask is not None:
            outputs = ops.where(ops.expand_dims(mask, -1), outputs, ops.zeros_like(outputs))
        return [outputs, state.hidden] if self.return_state else outputs

    def _starting_state(self, inputs, initial_state) -> RecurrentUnitState:
        self._check_rows(inputs)
        if initial_state is not None:
            return RecurrentUnitState(ops.cast(hidden_of(type(self).__name__, initial_state, inputs), "float32"))
        if self.stateful:
            return self.kept_state.read()
        return self.initial_state(ops.shape(inputs)[0])

    def _check_rows(self, inputs):
        if self.stateful and self.built:
            self.kept_state.check_rows(type(self).__name__, inputs)

    def get_initial_state(self, batch_size: int) -> list[Tensor]:
        """The initial state in the form of Keras's recurrent layers: a list."""
        return list(self.initial_state(batch_size))

    @property
    def states(self) -> list | None:
        """A stateful layer's state in the form of Keras's recurrent layers: a list of variables, or None."""
        return self.kept_state.leaves if self.stateful and self.built else None

    def reset_state(self) -> None:
        """Forget the state of a stateful layer."""
        if self.stateful and self.built:
            self.kept_state.reset()

    reset_states = reset_state

    def compute_output_spec(self, inputs, initial_state=None, reset=None, mask=None):
        """Shapes and dtypes of the outputs of `call`."""
        self._check_rows(inputs)
        if initial_state is not None:
            hidden_of(type(self).__name__, initial_state, inputs)
        batch_size, length, width = inputs.shape
        shape = (batch_size, length, width) if self.return_sequences else (batch_size, width)
        outputs = keras.KerasTensor(shape, self.compute_dtype)
        return [outputs, keras.KerasTensor((batch_size, width), "float32")] if self.return_state else outputs

    def compute_output_shape(self, inputs_shape, initial_state_shape=None):
        """Shapes of the outputs of `call`."""
        batch_size, length, width = inputs_shape
        shape = (batch_size, length, width) if self.return_sequences else (batch_size, width)
        return (shape, (batch_size, width)) if self.return_state else shape

    def compute_mask(self, inputs, previous_mask=None):
        """Only a sequence of outputs has a mask: that of the inputs, also with `go_backwards`, as in Keras."""
        mask = previous_mask if self.return_sequences else None
        return [mask, None] if self.return_state else mask
