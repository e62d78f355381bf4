"""The contract of everything temporal: `initial_state`, `call` and `advance`."""

import keras
from keras import ops

from keras_griffin.shapes import State, Tensor


class SequenceLayer(keras.layers.Layer):
    """A layer that moves information along time, and can stop and go on anywhere.

    A subclass gives `initial_state` and `advance`. The whole sequence is `advance` from the initial state; cutting it
    anywhere changes nothing. `keras_griffin.testing.contracts` checks the laws.

    Keras casts every float argument of `Layer.__call__` to the compute dtype, and would round a float32 state to
    bfloat16 on its way. Temporal layers therefore switch that cast off and do it themselves, for the inputs only; their
    own weights are cast where they are used. So `call` and the plain method `advance` compute the same.

    Args:
        **kwargs: `name`, `dtype` and `trainable`, as for every Keras layer.
    """

    def __init__(self, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.supports_masking = True

    def initial_state(self, batch_size: int) -> State:
        """The state before the first step.

        Args:
            batch_size: B, a Python integer or a scalar tensor.

        Returns:
            The layer's state type, each field with a leading axis B.
        """
        raise NotImplementedError(f"initial_state: {type(self).__name__} must define it.")

    def advance(self, inputs: Tensor, state: State, *, reset: Tensor = None, mask: Tensor = None):
        """Continue from `state` by any number of steps: prefill, chunks and decoding are one method.

        Args:
            inputs: `(B, T, D)`, T >= 1.
            state: what `initial_state` or an earlier `advance` returned.
            reset: `(B, T)` bool; at a True step everything before it is forgotten first.
            mask: `(B, T)` bool; a False step leaves the state as it was.

        Returns:
            `(outputs, state)`: `(B, T, D)` in the compute dtype, and the state after the last step.
        """
        raise NotImplementedError(f"advance: {type(self).__name__} must define it.")

    def call(self, inputs, reset=None, mask=None):
        """The whole sequence from the initial state. Arguments and outputs as in `advance`."""
        outputs, _ = self.advance(inputs, self.initial_state(ops.shape(inputs)[0]), reset=reset, mask=mask)
        return outputs

    def compute_output_shape(self, inputs_shape):
        """Outputs have the shape of the inputs unless a subclass says otherwise."""
        return tuple(inputs_shape)

    def prepare(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        """The inputs in the compute dtype, masked steps zero, the layer's weights made if this is its first use."""
        inputs = ops.convert_to_tensor(inputs)
        if not self.built:
            self.build(tuple(inputs.shape))
        inputs = ops.cast(inputs, self.compute_dtype)
        # Zero times NaN is NaN: what stands at a masked step must not even be multiplied.
        return inputs if mask is None else ops.where(ops.expand_dims(mask, -1), inputs, ops.zeros_like(inputs))
