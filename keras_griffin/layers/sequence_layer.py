"""The contract of everything temporal: `initial_state`, `call` and `advance`."""

from typing import Any, NamedTuple

import keras
from keras import ops

from keras_griffin.checks import Rule
from keras_griffin.layers.configured import Configured
from keras_griffin.ops.arguments import as_tensor, check_steps
from keras_griffin.shapes import State, Tensor


class Decays(NamedTuple):
    """How a recurrence forgets at each step, for reports."""

    #: a_t - 1, `(B, T, R)` float32: it keeps the digits that a_t itself, close to 1, does not have.
    below_one: Tensor
    #: `(B, T, R)` bool: the derivative of a root of 1 - a_t^2 is at its bound, so a_t's gradient is not the true one.
    at_bound: Tensor


class SequenceLayer(Configured, keras.layers.Layer):
    """A layer that moves information along time, and can stop and go on anywhere.

    A subclass gives `initial_state` and `advance`. The whole sequence is `advance` from the initial state; cutting it
    anywhere changes nothing. `keras_griffin.testing.contracts` checks the laws.

    Keras casts every float argument of `Layer.__call__` to the compute dtype, and would round a float32 state to
    bfloat16 on its way. Temporal layers therefore switch that cast off and do it themselves, for the inputs only; their
    own weights are cast where they are used. So `call` and the plain method `advance` compute the same.

    Args:
        **kwargs: `name`, `dtype` and `trainable`, as for every Keras layer.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(autocast=False, **kwargs)
        self.supports_masking = True
        self.input_spec = keras.layers.InputSpec(ndim=3)

    def build(self, inputs_shape):
        """Note the width, so that Keras refuses inputs of another one. A subclass calls this first."""
        self.width = inputs_shape[-1]
        self.input_spec = keras.layers.InputSpec(ndim=3, axes={-1: self.width})

    def initial_state(self, batch_size: int) -> State:
        """The state before the first step.

        Args:
            batch_size: B, a Python integer or a scalar tensor.

        Returns:
            The layer's state type, each field with a leading axis B.

        Raises:
            ValueError: the layer is not built yet, so that its width is unknown.
        """
        raise NotImplementedError(f"initial_state: {type(self).__name__} must define it.")

    def advance(
        self, inputs: Tensor, state: State, *, reset: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Continue from `state` by any number of steps: prefill, chunks and decoding are one method.

        Args:
            inputs: `(B, T, D)`, T >= 1.
            state: what `initial_state` or an earlier `advance` returned.
            reset: `(B, T)` bool; at a True step everything before it is forgotten first.
            mask: `(B, T)` bool; a False step leaves the state as it was.

        Returns:
            `(outputs, state)`: `(B, T, D)` in the compute dtype, and the state after the last step.

        Raises:
            ValueError: the shapes do not fit.
        """
        raise NotImplementedError(f"advance: {type(self).__name__} must define it.")

    def call(self, inputs, reset=None, mask=None):
        """The whole sequence from the initial state. Arguments and outputs as in `advance`."""
        outputs, _ = self.advance(inputs, self.initial_state(ops.shape(inputs)[0]), reset=reset, mask=mask)
        return outputs

    def decays_of(self, inputs: Tensor) -> Decays | None:
        """The decays with which the layer would go through `inputs (B, T, D)`; None where it has none of its own."""
        return None

    def trace_of(self, inputs: Tensor, outputs: Tensor) -> dict[str, Tensor]:
        """What the layer does at each step, by name, for `inputs` that gave `outputs`: `(B, T, C)` float32 each.

        A recurrence gives `log_decay` and `state`, and its gates; a layer without one of its own, nothing.
        """
        return {}

    def compute_output_shape(self, inputs_shape):
        """Outputs have the shape of the inputs unless a subclass says otherwise."""
        return tuple(inputs_shape)

    def prepare(
        self, inputs: Tensor, reset: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """What `call` and `advance` do first with their arguments.

        Returns:
            `(inputs, reset, mask)`: the inputs in the compute dtype, zero at masked steps, and the marks as booleans.

        Raises:
            ValueError: the inputs are not `(B, T, D)`, or a mark is not `(B, T)`.
        """
        name = type(self).__name__
        inputs = as_tensor(inputs)
        if len(inputs.shape) != 3:
            raise ValueError(f"{name}: inputs must have shape (B, T, D). Got {tuple(inputs.shape)}.")
        reset, mask = (mark if mark is None else ops.cast(mark, "bool") for mark in (reset, mask))
        check_steps(name, tuple(inputs.shape[:2]), reset=reset, mask=mask)
        inputs = ops.cast(inputs, self.compute_dtype)
        if mask is not None:
            # Zero times NaN is NaN: what stands at a masked step must not even be multiplied.
            inputs = ops.where(ops.expand_dims(mask, -1), inputs, ops.zeros_like(inputs))
        return inputs, reset, mask

    def require_built(self, function_name: str) -> None:
        """Raise unless the layer knows its width."""
        if not self.built:
            raise ValueError(
                f"{function_name}: the layer must be built first, by a call or by build((None, None, width)). "
                f"Got {type(self).__name__} {self.name!r}, not built."
            )


#: What a layer that is given another one uses of it: `initial_state`, `advance` and `call`.
TEMPORAL = Rule("a SequenceLayer", lambda value: isinstance(value, SequenceLayer))
