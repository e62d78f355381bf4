"""One step of an RG-LRU, for Keras's loop over time."""

from typing import Unpack

import keras
from keras import ops

from keras_griffin.checks import COUNT, POSITIVE
from keras_griffin.layers.base.configured import Configured
from keras_griffin.layers.initializers.decay_initializer import DECAY_INITIALIZER, DECAY_RANGE
from keras_griffin.layers.units.recurrent_unit import RecurrentUnitState
from keras_griffin.layers.units.rg_lru import RGLRU
from keras_griffin.shapes import LayerOptions, Tensor


@keras.saving.register_keras_serializable("keras_griffin")
class RGLRUCell(Configured, keras.layers.Layer):
    """One step of an `RGLRU`, to use in place of `LSTMCell` in `keras.layers.RNN` and `StackedRNNCells`.

    It computes the same as `RGLRU`, step by step, for code that is built around cells. In all other cases use `RGLRU`:
    it processes all steps at once, takes resets, and keeps its state in float32, which Keras's `RNN` rounds to the
    compute dtype.

    Args:
        units: R, the common width of inputs, outputs and state.
        num_gate_blocks, exponent, decay_range, decay_initializer: as for `RGLRU`.
        **kwargs: `name`, `dtype` and `trainable`, as for every Keras layer.

    Call arguments:
        inputs: `(B, R)`.
        states: a list of h, `(B, R)`.

    Input shape: `(B, R)`.

    Output shape: `(B, R)`, and a list of the state `(B, R)`.

    Raises:
        ValueError: an argument has a wrong type or value, or the inputs have another width.

    Examples:
        >>> import numpy as np, keras, keras_griffin
        >>> layer = keras.layers.RNN(keras_griffin.layers.RGLRUCell(32), return_sequences=True)
        >>> tuple(layer(np.ones((2, 10, 32), "float32")).shape)
        (2, 10, 32)

    Reference: De et al. 2024 (arXiv 2402.19427), section 2.4, equations 1 to 4.
    """

    def __init__(
        self,
        units: int,
        *,
        num_gate_blocks: int | None = None,
        exponent: float = 8.0,
        decay_range: tuple[float, float] = (0.9, 0.999),
        decay_initializer: str = "ring",
        **kwargs: Unpack[LayerOptions],
    ):
        super().__init__(autocast=False, **kwargs)
        self.units = self.state_size = self.output_size = self.checked(COUNT, units=units)
        self.num_gate_blocks = self.checked(COUNT.or_none(), num_gate_blocks=num_gate_blocks)
        self.exponent = self.checked(POSITIVE, exponent=exponent)
        self.decay_range = self.checked(DECAY_RANGE, decay_range=decay_range)
        self.decay_initializer = self.checked(DECAY_INITIALIZER, decay_initializer=decay_initializer)
        self.unit = RGLRU(
            num_gate_blocks=num_gate_blocks,
            exponent=exponent,
            decay_range=decay_range,
            decay_initializer=decay_initializer,
            name="unit",
            dtype=self.dtype_policy,
        )

    def build(self, inputs_shape):
        """Build the unit."""
        if inputs_shape[-1] != self.units:
            raise ValueError(
                f"{type(self).__name__}: inputs must have the width of the units, {self.units}; put "
                f"Dense({self.units}) before it. Got {tuple(inputs_shape)}."
            )
        self.unit.build((inputs_shape[0], None, self.units))

    def call(self, inputs, states):
        """The step: outputs, and a list of the state, in the dtype of the given state."""
        hidden = ops.cast(states[0], "float32")
        outputs, state = self.unit.advance(ops.expand_dims(inputs, 1), RecurrentUnitState(hidden))
        return outputs[:, 0], [ops.cast(state.hidden, states[0].dtype)]

    def get_initial_state(self, batch_size: int | None = None) -> list[Tensor]:
        """Zeros."""
        return [ops.zeros((batch_size, self.units), "float32")]
