"""The residual block around a temporal mixer."""

from typing import Any, Unpack

import keras

from keras_griffin.checks import FLAG, FRACTION, POSITIVE, integer_from
from keras_griffin.layers.base.layout import with_layout
from keras_griffin.layers.base.sequence_layer import TEMPORAL, SequenceLayer
from keras_griffin.layers.gated_mlp import GatedMLP
from keras_griffin.layers.normalization import NORM, normalization
from keras_griffin.shapes import LayerOptions, State, Tensor


@keras.saving.register_keras_serializable("keras_griffin")
class ResidualBlock(SequenceLayer):
    """Mix along time, then along channels, each around a residual connection.

        u = x + dropout(mixer(norm(x)))
        y = u + dropout(mlp(norm(u))), or u without an MLP

    Args:
        mixer: a `SequenceLayer` that preserves the width, such as `RecurrentBlock` or `LocalMQA`.
        hidden_width: M, the width inside the gated MLP; 0 for no MLP.
        norm_epsilon: epsilon of both norms.
        output_variance_scale: variance of the MLP's last kernel, in units of 1 / fan-in.
        rematerialize: whether to store only the block's inputs and recompute the block for the gradient
            (`keras.remat`).
        dropout: the dropout rate of both branches in training; 0 with `rematerialize`.
        norm: `"rms"` or `"layer"`.
        **kwargs: `name`, `dtype` and `trainable`, as for every Keras layer.

    State: the mixer's.

    Input and output shape: `(B, T, D)`.

    Raises:
        ValueError: an argument has a wrong type or value, dropout is combined with `rematerialize`, or the mixer does
            not preserve the inputs' shape.

    Examples:
        >>> import numpy as np, keras_griffin
        >>> mixer = keras_griffin.mixers.RecurrentBlock(recurrence_width=16)
        >>> block = keras_griffin.layers.ResidualBlock(mixer, hidden_width=24)
        >>> tuple(block(np.ones((2, 5, 8), "float32")).shape)
        (2, 5, 8)

    Reference: De et al. 2024 (arXiv 2402.19427), section 2.1, figure 2.
    """

    def __init__(
        self,
        mixer: SequenceLayer,
        hidden_width: int,
        norm_epsilon: float = 1e-6,
        output_variance_scale: float = 1.0,
        rematerialize: bool = False,
        dropout: float = 0.0,
        norm: str = "rms",
        **kwargs: Unpack[LayerOptions],
    ):
        super().__init__(**kwargs)
        name = type(self).__name__
        self.mixer = self.checked(TEMPORAL, mixer=mixer)
        self.hidden_width = self.checked(integer_from(0), hidden_width=hidden_width)
        self.norm_epsilon = self.checked(POSITIVE, norm_epsilon=norm_epsilon)
        self.output_variance_scale = self.checked(POSITIVE, output_variance_scale=output_variance_scale)
        self.rematerialize = self.checked(FLAG, rematerialize=rematerialize)
        self.dropout = self.checked(FRACTION, dropout=dropout)
        if rematerialize and dropout:
            raise ValueError(f"{name}: dropout must be 0 with rematerialize, which would draw twice. Got {dropout}.")
        self.norm = self.checked(NORM, norm=norm)
        self.mixer_norm = normalization(norm, norm_epsilon, name="mixer_norm", dtype=self.dtype_policy)
        self.mlp_norm: Any = None
        self.mlp: Any = None
        if hidden_width:
            self.mlp_norm = normalization(norm, norm_epsilon, name="mlp_norm", dtype=self.dtype_policy)
            self.mlp = GatedMLP(hidden_width, output_variance_scale, name="mlp", dtype=self.dtype_policy)
        self.drop = keras.layers.Dropout(dropout, dtype=self.dtype_policy) if dropout else None

    def build(self, inputs_shape):
        """Build the parts; a loaded mixer is already built."""
        super().build(inputs_shape)
        mixed_shape = self.mixer.compute_output_shape(inputs_shape)
        if mixed_shape != tuple(inputs_shape):
            # A single output would be added to every step whenever batch and time have the same length.
            raise ValueError(
                f"{type(self).__name__}: the mixer must return a vector for each step, as RGLRU does with "
                f"return_sequences=True. Got {type(self.mixer).__name__} from {tuple(inputs_shape)} to {mixed_shape}."
            )
        for part in (self.mixer_norm, self.mixer, self.mlp_norm, self.mlp):
            if part is not None and not part.built:
                part.build(inputs_shape)

    def initial_state(self, batch_size: int) -> State:
        """The mixer's."""
        return self.mixer.initial_state(batch_size)

    def advance(
        self, inputs: Tensor, state: State, *, reset: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Continue from `state`; see `SequenceLayer.advance`."""
        inputs, reset, mask = self.prepare(inputs, reset, mask)
        mixed, state = self.mixer.advance(self.mixer_norm(inputs), state, reset=reset, mask=mask)
        return self._mix_channels(inputs + self._dropped(mixed)), state

    def call(self, inputs, reset=None, mask=None, inputs_mask=None):
        """The whole sequence, as in `SequenceLayer.call`; the mixer's `call` may be cheaper than its `advance`."""
        inputs, reset, mask = self.prepare(inputs, reset, inputs_mask if mask is None else mask)

        def mix(inputs):
            mixed = self.mixer(self.mixer_norm(inputs), reset=reset, mask=mask)
            return self._mix_channels(inputs + self._dropped(mixed))

        # On TensorFlow it does not accept None as an argument.
        return keras.remat(mix)(inputs) if self.rematerialize else mix(inputs)

    def _mix_channels(self, inputs):
        if self.mlp is not None:
            inputs = inputs + self._dropped(self.mlp(self.mlp_norm(inputs)))
        return with_layout(inputs, f"{self.path}/residual")

    def _dropped(self, branch):
        return branch if self.drop is None else self.drop(branch)

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "mixer": keras.saving.deserialize_keras_object(config["mixer"])})
