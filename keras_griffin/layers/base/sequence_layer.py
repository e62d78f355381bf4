"""The contract of all temporal layers: `initial_state`, `call` and `advance`."""

from typing import NamedTuple, Unpack

import keras
from keras import ops

from keras_griffin.checks import Rule
from keras_griffin.layers.base.configured import Configured
from keras_griffin.layers.base.stream import active_stream
from keras_griffin.ops.shared.arguments import as_tensor, check_steps
from keras_griffin.shapes import LayerOptions, State, Tensor


class Decays(NamedTuple):
    """How much a recurrence forgets at each step, for reports."""

    #: a_t - 1, `(B, T, R)` float32: it has the digits that a_t itself, close to 1, would lose.
    below_one: Tensor
    #: `(B, T, R)` bool: whether the derivative of the root of 1 - a_t^2 is clipped, so that a_t's gradient is not
    #: exact.
    at_bound: Tensor


class SequenceLayer(Configured, keras.layers.Layer):
    """A layer that moves information along time, and can stop and resume anywhere.

    A subclass defines `initial_state` and `advance`. The whole sequence is `advance` from the initial state; cutting it
    anywhere changes nothing. `keras_griffin.testing.contracts` checks these laws.

    Keras casts every float argument of `Layer.__call__` to the compute dtype, and would round a float32 state to
    bfloat16. Temporal layers therefore disable that cast and do it themselves, for the inputs only; they cast their
    weights where they use them. So `call` and the plain method `advance` compute the same.

    Args:
        **kwargs: `name`, `dtype` and `trainable`, as for every Keras layer.
    """

    def __init__(self, **kwargs: Unpack[LayerOptions]):
        super().__init__(autocast=False, **kwargs)
        self.supports_masking = True
        self.input_spec = keras.layers.InputSpec(ndim=3)

    def __call__(self, inputs, *arguments, **options):
        """`call` as Keras does it; or, where a model is a stream, from the layer's state in it."""
        stream = active_stream()
        if stream is None:
            return super().__call__(inputs, *arguments, **options)
        return stream.advance(self, inputs, *arguments, **options)

    def build(self, inputs_shape):
        """Record the width, so that Keras raises for another width. A subclass calls this first."""
        self.width = inputs_shape[-1]
        self.input_spec = keras.layers.InputSpec(ndim=3, axes={-1: self.width})

    def initial_state(self, batch_size: int) -> State:
        """The state before the first step.

        Args:
            batch_size: B, a Python integer or a scalar tensor.

        Returns:
            The layer's state type, each field with a leading axis B.

        Raises:
            ValueError: the layer is not built yet, so its width is unknown.
        """
        raise NotImplementedError(f"initial_state: {type(self).__name__} must define it.")

    def advance(
        self, inputs: Tensor, state: State, *, reset: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Continue from `state` by any number of steps: prefill, chunks and decoding are one method.

        Args:
            inputs: `(B, T, D)`; of no steps there are no outputs, and the state stays as it is.
            state: from `initial_state` or an earlier `advance`.
            reset: `(B, T)` bool; at a True step everything before it is forgotten first.
            mask: `(B, T)` bool; a False step leaves the state unchanged.

        Returns:
            (outputs, state): `(B, T, D)` in the compute dtype, and the state after the last step.

        Raises:
            ValueError: the shapes do not fit.
        """
        raise NotImplementedError(f"advance: {type(self).__name__} must define it.")

    def call(self, inputs, reset=None, mask=None, inputs_mask=None):
        """The whole sequence from the initial state. Arguments and outputs as in `advance`.

        Keras passes the mask that the inputs carry, for example from `keras.layers.Masking`, as `mask`, or as
        `inputs_mask` where there are marks too; a given `mask` takes its place.
        """
        mask = inputs_mask if mask is None else mask
        outputs, _ = self.advance(inputs, self.initial_state(ops.shape(inputs)[0]), reset=reset, mask=mask)
        return outputs

    def outputs_of_stream(self, outputs: Tensor) -> Tensor:
        """What `call` returns of every step's outputs, where a model is a stream: all of them."""
        return outputs

    def decays_of(self, inputs: Tensor) -> Decays | None:
        """The layer's decays for `inputs (B, T, D)`; None if it has no decays of its own."""
        return None

    def trace_of(self, inputs: Tensor, outputs: Tensor) -> dict[str, Tensor]:
        """The layer's internal values at each step, by name, for `inputs` and their `outputs`: float32 `(B, T, C)`.

        A recurrence returns `log_decay`, `state` and its gates; a layer without its own recurrence, nothing.
        """
        return {}

    def compute_output_shape(self, inputs_shape):
        """The shape of the inputs, unless a subclass overrides this."""
        return tuple(inputs_shape)

    def prepare(
        self, inputs: Tensor, reset: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Prepare the arguments of `call` and `advance`.

        Returns:
            (inputs, reset, mask): the inputs in the compute dtype, zero at masked steps, and the marks as booleans.

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
            # Zero times NaN is NaN: values at a masked step must not even be multiplied.
            inputs = ops.where(ops.expand_dims(mask, -1), inputs, ops.zeros_like(inputs))
        return inputs, reset, mask

    def require_built(self, function_name: str) -> None:
        """Raise unless the layer is built."""
        if not self.built:
            raise ValueError(
                f"{function_name}: the layer must be built first, by a call or by build((None, None, width)). "
                f"Got {type(self).__name__} {self.name!r}, not built."
            )


#: The rule for a layer argument: its user needs `initial_state`, `advance` and `call`.
TEMPORAL = Rule("a SequenceLayer", lambda value: isinstance(value, SequenceLayer))
