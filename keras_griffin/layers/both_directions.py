"""A sequence mixed forward and backward in time."""

from typing import NoReturn, Unpack

import keras
from keras import ops

from keras_griffin.layers.base.sequence_layer import TEMPORAL, SequenceLayer
from keras_griffin.shapes import LayerOptions, State, Tensor


@keras.saving.register_keras_serializable("keras_griffin")
class BothDirections(SequenceLayer):
    """The sum of two layers' outputs, one of them run from the last step to the first.

        y = forward(x) + flip(backward(flip(x)))        flip: along time

    Each step sees the whole sequence, so there is no state to resume from. A masked step is skipped in both directions,
    wherever it is. Reference: Schuster and Paliwal 1997, "Bidirectional recurrent neural networks".
    """

    def __init__(self, forward_layer: SequenceLayer, backward_layer: SequenceLayer, **kwargs: Unpack[LayerOptions]):
        super().__init__(**kwargs)
        self.forward_layer = self.checked(TEMPORAL, forward_layer=forward_layer)
        self.backward_layer = self.checked(TEMPORAL, backward_layer=backward_layer)

    def build(self, inputs_shape):
        """Build both; a loaded layer is already built."""
        super().build(inputs_shape)
        for layer in (self.forward_layer, self.backward_layer):
            if not layer.built:
                layer.build(inputs_shape)

    def initial_state(self, batch_size: int) -> NoReturn:
        """Raise: there is no state."""
        self._raise("initial_state")

    def advance(
        self, inputs: Tensor, state: State, *, reset: Tensor | None = None, mask: Tensor | None = None
    ) -> NoReturn:
        """Raise: there is no state."""
        self._raise("advance")

    def _raise(self, function_name) -> NoReturn:
        raise ValueError(
            f"{function_name}: the layer must be causal to resume from a state. Got {type(self).__name__} "
            f"{self.name!r}, which reads the sequence from both ends."
        )

    def call(self, inputs, reset=None, mask=None):
        """The whole sequence."""
        if reset is not None:
            raise ValueError(f"{type(self).__name__}: reset must be None, since a reset ends only the past. Got one.")
        inputs, _, mask = self.prepare(inputs, None, mask)
        flipped, flipped_mask = (x if x is None else ops.flip(x, axis=1) for x in (inputs, mask))
        backward = self.backward_layer(flipped, mask=flipped_mask)
        return self.forward_layer(inputs, mask=mask) + ops.flip(backward, axis=1)

    def compute_output_shape(self, inputs_shape):
        return self.forward_layer.compute_output_shape(inputs_shape)

    @classmethod
    def from_config(cls, config):
        names = ("forward_layer", "backward_layer")
        return cls(**{**config, **{name: keras.saving.deserialize_keras_object(config[name]) for name in names}})
