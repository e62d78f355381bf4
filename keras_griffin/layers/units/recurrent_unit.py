"""The base of recurrent units: Keras's conventions for recurrent layers, around a scan."""

from typing import Any, NamedTuple, Unpack

import keras
from keras import ops

from keras_griffin.checks import FLAG
from keras_griffin.layers.base.declared import Declared
from keras_griffin.layers.base.foreign_arguments import checked_state, reject_foreign_arguments
from keras_griffin.layers.base.stateful_variables import StatefulVariables
from keras_griffin.layers.base.weights import StateSpec
from keras_griffin.ops.linear_scan import linear_scan
from keras_griffin.shapes import LayerOptions, State, Tensor


class RecurrentUnitState(NamedTuple):
    """The state of a recurrent unit that is one vector."""

    #: `(B, R)`, float32 whatever the compute dtype: h after the last step.
    hidden: Tensor


class RecurrentUnit(Declared):
    """A recurrence with the conventions of `keras.layers.LSTM`.

    Only `units`, where a unit has them, may be positional. There are no activations, initializers, regularizers,
    constraints, `dropout` or `unroll`; put `Dropout` before it. A call takes `reset`, by name, like `mask`.

    A subclass defines `weights_of` and `scan`, and, if its state is not one vector of the outputs' width, `state_type`
    and `state_of`.

    Args:
        return_sequences: return every step's output; otherwise, as in Keras, only the last.
        return_state: also return the parts of the final state, after the outputs.
        go_backwards: run from the last step to the first; outputs are in the order in which they are computed.
        stateful: start each call where the last one ended, in `fit` and `predict` too, until `reset_state`.
        **kwargs: `name`, `dtype` and `trainable`, as for every Keras layer.

    Output shape: `(B, R)`; `(B, T, R)` with `return_sequences`.

    Raises:
        ValueError: an argument is positional or an LSTM's, or has a wrong type or value.
    """

    state_type: type = RecurrentUnitState
    #: R, the width of the outputs; None for the width of the inputs.
    units: int | None = None
    #: Whether weight decay applies to its kernels.
    decays = True
    #: Whether its output is a part of its state, so that masked steps repeat it.
    repeats_outputs = True
    #: The `readout` of a `UnitBlock` as its authors used it.
    published_readout = "dense"

    def __new__(cls, *positional, **options):
        """Raise for an LSTM's arguments that this layer lacks. `__init__` can't: its signature must not list them."""
        reject_foreign_arguments(cls, positional, options)
        return super().__new__(cls, *positional, **options)

    def __init__(
        self,
        *,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        **kwargs: Unpack[LayerOptions],
    ):
        super().__init__(**kwargs)
        self.return_sequences = self.checked(FLAG, return_sequences=return_sequences)
        self.return_state = self.checked(FLAG, return_state=return_state)
        self.go_backwards = self.checked(FLAG, go_backwards=go_backwards)
        self.stateful = self.checked(FLAG, stateful=stateful)
        self.zero_output_for_mask = False  # Bidirectional sets it, so that its directions' padding does not mix.

    @classmethod
    def state_of(cls, width: int, tokens: int, *, units: int | None = None, **others: Any) -> dict[str, StateSpec]:
        """One float32 vector of the outputs' width, unless a subclass overrides this."""
        return {"hidden": StateSpec((units or width,), "float32")}

    @classmethod
    def groups_of(cls, width: int, **arguments: Any) -> tuple[str, int]:
        """The groups of channels that a mesh must not split, and their number, as in `Weight.units`."""
        return "units", width

    @classmethod
    def reach_of(cls, **arguments: Any) -> int | None:
        """No step but through the state, unless a subclass overrides this."""
        return 0

    def build(self, inputs_shape):
        super().build(inputs_shape)
        if self.stateful:
            start = self.initial_arrays(StatefulVariables.batch_size_of(type(self).__name__, inputs_shape))
            self.kept_state = StatefulVariables(start, name="kept_state", dtype="float32")

    def scan(self, inputs: Tensor, state: State, reset: Tensor | None, mask: Tensor | None) -> tuple[Tensor, State]:
        """Run the recurrence over `(B, T, D)` from a state; returns outputs in any dtype and the final state."""
        raise NotImplementedError(f"scan: {type(self).__name__} must define it.")

    def advance(
        self, inputs: Tensor, state: State, *, reset: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Continue from `state`; see `SequenceLayer.advance`. Always forward in time, always every output."""
        inputs, reset, mask = self.prepare(inputs, reset, mask)
        outputs, state = self.scan(inputs, state, reset, mask)
        return ops.cast(outputs, self.compute_dtype), state

    def call(self, inputs, initial_state=None, *, reset=None, mask=None, inputs_mask=None):
        """Run over the whole sequence.

        Args:
            inputs: `(B, T, D)`.
            initial_state: a list of the state's parts, or its only part; None for the first or the kept one.
            reset: `(B, T)` bool; at a True step everything before it, in the order of processing, is forgotten.
            mask: `(B, T)` bool; a False step leaves the state unchanged and repeats the output before it.
            inputs_mask: the mask that the inputs carry, which Keras passes; used if `mask` is None.

        Returns:
            The outputs, `(B, T, R)`, or the last, `(B, R)`; with `return_state` a list of these and the state's parts.

        Raises:
            ValueError: a shape does not fit, or the initial state has other parts.
        """
        marks = reset, inputs_mask if mask is None else mask
        reset, mask = (mark if mark is None else ops.cast(mark, "bool") for mark in marks)
        if self.go_backwards:
            inputs, reset, mask = (x if x is None else ops.flip(x, axis=1) for x in (inputs, reset, mask))
        state = self._checked_state(inputs, initial_state)
        if state is None:
            state = self.kept_state.read() if self.stateful else self.initial_state(ops.shape(inputs)[0])
        outputs, state = self.advance(inputs, state, reset=reset, mask=mask)
        if self.stateful:
            self.kept_state.write(state)
        if mask is not None and not self.repeats_outputs:
            # Masked steps repeat the output before them. Resets, not decays of 0, forget: zero times NaN is NaN.
            outputs, _ = linear_scan(ops.zeros_like(outputs), outputs, reset=ops.ones_like(mask), mask=mask)
        if not self.return_sequences:
            outputs = ops.cast(state[0], outputs.dtype) if self.repeats_outputs else ops.sum(outputs[:, -1:], axis=1)
        elif self.zero_output_for_mask and mask is not None:
            outputs = ops.where(ops.expand_dims(mask, -1), outputs, ops.zeros_like(outputs))
        return [outputs, *state] if self.return_state else outputs

    def outputs_of_stream(self, outputs: Tensor) -> Tensor:
        """All, or the last."""
        if self.go_backwards or self.return_state:
            raise ValueError(f"{type(self).__name__}: a stream has no go_backwards and no return_state. Got one.")
        return outputs if self.return_sequences else outputs[:, -1]

    def _checked_state(self, inputs, initial_state) -> State | None:
        """The given initial state, or None, if it and the batch size of a stateful layer fit."""
        name = type(self).__name__
        if self.stateful and self.built:
            self.kept_state.check_rows(name, inputs)
        if initial_state is None:
            return None
        specs = self.state_specs(inputs.shape[-1])
        shapes = {part: (inputs.shape[0], *spec.shape) for part, spec in specs.items()}
        parts = checked_state(name, initial_state, shapes)
        return self.state_type(*map(ops.cast, parts, map(self.dtype_of, specs.values())))

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

    def compute_output_spec(self, inputs, initial_state=None, reset=None, mask=None, inputs_mask=None):
        """Shapes and dtypes of the outputs of `call`."""
        self._checked_state(inputs, initial_state)
        dtypes = [self.compute_dtype, *map(self.dtype_of, self.state_specs(inputs.shape[-1]).values())]
        outputs, *state = map(keras.KerasTensor, self._output_shapes(inputs.shape), dtypes)
        return [outputs, *state] if self.return_state else outputs

    def compute_output_shape(self, inputs_shape, initial_state_shape=None):
        """Shapes of the outputs of `call`."""
        return tuple(self._output_shapes(inputs_shape)) if self.return_state else self._output_shapes(inputs_shape)[0]

    def _output_shapes(self, inputs_shape):
        """The shapes of the outputs and of each part of the state."""
        batch_size, length, width = inputs_shape
        steps = (batch_size, length) if self.return_sequences else (batch_size,)
        return [(*steps, self.units or width), *((batch_size, *x.shape) for x in self.state_specs(width).values())]

    def compute_mask(self, inputs, previous_mask=None):
        """The inputs' mask for a sequence of outputs, also with `go_backwards`, as in Keras; otherwise None."""
        mask = previous_mask if self.return_sequences else None
        return [mask, *([None] * len(self.state_specs(self.width)))] if self.return_state else mask
