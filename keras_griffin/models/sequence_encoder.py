"""A stack of residual blocks over sequences of real-valued features."""

import itertools
import math
from collections.abc import Mapping
from typing import NamedTuple, Unpack

import keras
from keras import ops

from keras_griffin import backends
from keras_griffin.checks import COUNT, FLAG, FRACTION, checked, one_of
from keras_griffin.generation import register_state_type
from keras_griffin.generation.capacity import grows
from keras_griffin.generation.compilers.compile import prepared
from keras_griffin.layers import RMSNorm, SequenceLayer, project, projection
from keras_griffin.layers.base.initialization import random_initializer
from keras_griffin.layers.base.stateful_variables import StatefulVariables
from keras_griffin.layers.units.rg_lru import GATE_WIDTH, MOST_GATE_BLOCKS, default_num_gate_blocks
from keras_griffin.models.config import OPTIONS, GriffinConfig
from keras_griffin.models.documents import newest_step
from keras_griffin.models.residual_blocks import residual_blocks
from keras_griffin.ops.shared.arguments import as_tensor
from keras_griffin.shapes import LayerOptions, State, Tensor

#: The ways to pool a row's steps into one vector.
POOLS = ("last", "mean", "max")
#: Initial decays, by mixer. The paper's, 0.9 to 0.999, had 1.35 times the error on half-hourly demand, and about the
#: same error on two other data sets.
DECAYS = {"recurrent": {"decay_range": (0.5, 0.99), "decay_initializer": "paper"}}


@register_state_type
class SequenceEncoderState(NamedTuple):
    """The state of `SequenceEncoder`."""

    #: The blocks' states, in order.
    blocks: tuple[State, ...]


@keras.saving.register_keras_serializable("keras_griffin")
class SequenceEncoder(SequenceLayer):
    """Residual blocks over sequences of features, to use in place of a stack of LSTMs.

        x^0 = W features + b
        x^l = block_l(x^(l-1))        l = 1 .. L, each a `ResidualBlock` around a mixer
        y   = norm(x^L), or its pool over time

    W is initially normal with variance 1 / F, and b with variance 1. A norm follows: with b at zero it would preserve
    only the sign of a single feature.

    It follows the conventions of Keras's recurrent layers: Keras masks, `stateful` with `reset_state`, and no head.
    Features should have about unit variance, as from `keras.layers.Normalization`.

    Unless `bidirectional`, it is causal and can stop and resume anywhere: `advance` takes any number of steps from a
    state, and `step` one sample at a time, compiled.

    Args:
        width: D, the width of the residual stream.
        num_layers: L, the number of blocks.
        pool: None for every step's output; `"last"`, `"mean"` or `"max"` for one vector per row, without masked steps,
            and zeros for a row that has no others.
        bidirectional: whether each block mixes in both directions of time.
        dropout: the dropout rate of each branch in training.
        block_pattern: names of mixers, repeated and cut to `num_layers`; see `GriffinConfig`.
        mlp_width: M, the width inside the gated MLPs; None for 2 D.
        recurrence_width: R, the width of recurrences; None for about 4 D / 3.
        num_heads: the number of attention heads; divides the width.
        window: the number of steps that local attention sees, including the query's own.
        conv_kernel_size: taps of the convolution before a recurrence.
        mixer_options: as in `GriffinConfig`: a mixer's options by its name. By default the gates' blocks have 16
            channels or more, and the initial decays are between 0.5 and 0.99.
        stateful: start each call where the last one ended, until `reset_state`; needs a known batch size.
        **kwargs: `name`, `dtype` and `trainable`, as for every Keras layer.

    Call arguments:
        inputs: `(B, T, F)`.
        reset: `(B, T)` bool, optional; at a True step everything before it is forgotten.
        mask: `(B, T)` bool, optional; a False step is skipped.

    State: `SequenceEncoderState`.

    Input shape: `(B, T, F)`.

    Output shape: `(B, T, D)`; `(B, D)` with a pool.

    Raises:
        ValueError: an argument has a wrong type or value; a bidirectional layer is stateful or gets a state; or a
            stateful layer does not know its batch size, or has a mixer whose state grows.

    Examples:
        >>> import numpy as np, keras, keras_griffin
        >>> encoder = keras_griffin.models.SequenceEncoder(width=32, pool="last")
        >>> model = keras.Sequential([encoder, keras.layers.Dense(1)])
        >>> tuple(model(np.ones((2, 10, 3), "float32")).shape)
        (2, 1)
        >>> features, state = encoder.step(np.ones((2, 3), "float32"), encoder.initial_state(2))
        >>> tuple(features.shape)
        (2, 32)

    Reference: De et al. 2024 (arXiv 2402.19427), section 2, with features in place of embedded tokens.
    """

    def __init__(
        self,
        width: int,
        num_layers: int = 2,
        *,
        pool: str | None = None,
        bidirectional: bool = False,
        dropout: float = 0.0,
        block_pattern: tuple[str, ...] = ("recurrent",),
        mlp_width: int | None = None,
        recurrence_width: int | None = None,
        num_heads: int = 1,
        window: int = 128,
        conv_kernel_size: int = 4,
        mixer_options: Mapping[str, Mapping] | None = None,
        stateful: bool = False,
        **kwargs: Unpack[LayerOptions],
    ):
        super().__init__(**kwargs)
        name = type(self).__name__
        self.pool = checked(name, one_of(POOLS).or_none(), pool=pool)
        self.bidirectional = checked(name, FLAG, bidirectional=bidirectional)
        self.dropout = checked(name, FRACTION, dropout=dropout)
        self.stateful = checked(name, FLAG, stateful=stateful)
        if bidirectional and stateful:
            raise ValueError(f"{name}: a bidirectional layer must not be stateful. Got both.")
        self.width = checked(name, COUNT, width=width)
        self.recurrence_width = checked(name, COUNT.or_none(), recurrence_width=recurrence_width)
        self.mlp_width = checked(name, COUNT.or_none(), mlp_width=mlp_width)
        self.mixer_options = checked(name, OPTIONS.or_none(), mixer_options=mixer_options)
        config = self._config(num_layers, num_heads, window, conv_kernel_size, block_pattern)
        self.num_layers, self.num_heads, self.window = config.num_layers, config.num_heads, config.window
        self.conv_kernel_size, self.block_pattern = config.conv_kernel_size, config.block_pattern
        # With zeros the first norm would preserve only the sign of a single feature.
        first_bias = random_initializer(keras.initializers.RandomNormal(stddev=1.0))
        self.input_projection = projection(
            width, bias_initializer=first_bias, name="input_projection", dtype=self.dtype_policy
        )
        self.blocks = residual_blocks(config, self.dtype_policy, dropout=dropout, bidirectional=bidirectional)
        self.final_norm = RMSNorm(config.norm_epsilon, name="final_norm", dtype=self.dtype_policy)

    def _config(self, num_layers, num_heads, window, conv_kernel_size, block_pattern):
        """The config that mixers read: a language model's."""
        given = self.mixer_options or {}
        used = [kind for kind in DECAYS if isinstance(block_pattern, list | tuple) and kind in block_pattern]
        try:
            return GriffinConfig(
                vocabulary_size=1,
                width=self.width,
                num_layers=num_layers,
                num_heads=num_heads,
                mlp_width=self.mlp_width or 2 * self.width,
                recurrence_width=self.recurrence_width,
                window=window,
                conv_kernel_size=conv_kernel_size,
                block_pattern=block_pattern,
                num_gate_blocks=_gate_blocks(self.width, self.recurrence_width),
                # Options of a mixer outside the pattern are passed on too, and the config refuses them.
                mixer_options={kind: {**DECAYS.get(kind, {}), **given.get(kind, {})} for kind in (*used, *given)},
            )
        except ValueError as error:
            raise ValueError(f"{type(self).__name__}: {str(error).removeprefix('GriffinConfig: ')}") from None

    def build(self, inputs_shape):
        """Build the parts, and create the kept state of a stateful layer."""
        self.input_spec = keras.layers.InputSpec(ndim=3, axes={-1: inputs_shape[-1]})
        stream_shape = (*inputs_shape[:-1], self.width)
        self.input_projection.build((None, inputs_shape[-1]))
        # Blocks may share their weights.
        parts: list[keras.layers.Layer] = [*dict.fromkeys(self.blocks), self.final_norm]
        for part in parts:
            part.build(stream_shape)
        if self.stateful:
            name = type(self).__name__
            state = self._first_state(StatefulVariables.batch_size_of(name, inputs_shape))
            blocks = zip(itertools.cycle(self.block_pattern), state.blocks, strict=False)
            growing = dict.fromkeys(kind for kind, block in blocks if grows(block))
            if growing:
                raise ValueError(
                    f"{name}: a stateful layer's mixers must have a state of a fixed size, as local_mqa has; advance "
                    f"takes one that grows. Got {', '.join(growing)}."
                )
            self.kept_state = StatefulVariables(state, name="kept_state")

    def initial_state(self, batch_size: int) -> SequenceEncoderState:
        """The initial states of the blocks."""
        self.require_built("initial_state")
        return self._first_state(batch_size)

    def _first_state(self, batch_size):
        return SequenceEncoderState(tuple(block.initial_state(batch_size) for block in self.blocks))

    def advance(
        self, inputs: Tensor, state: SequenceEncoderState, *, reset: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, SequenceEncoderState]:
        """Continue from `state`; see `SequenceLayer.advance`. Always every step's output, whatever the pool."""
        inputs, reset, mask = self.prepare(inputs, reset, mask)
        self._check_state("advance", state, inputs.shape[0])
        x, states = project(self.input_projection, inputs), []
        for block, block_state in zip(self.blocks, state.blocks, strict=True):
            x, block_state = block.advance(x, block_state, reset=reset, mask=mask)
            states.append(block_state)
        return self.final_norm(x), SequenceEncoderState(tuple(states))

    def call(self, inputs, reset=None, mask=None, inputs_mask=None):
        """The whole sequence, from the start or, in a stateful layer, from where the last call ended.

        Arguments as in `SequenceLayer.call`.
        """
        inputs, reset, mask = self.prepare(inputs, reset, inputs_mask if mask is None else mask)
        if self.stateful:
            self.kept_state.check_rows(type(self).__name__, inputs)
            x, state = self.advance(inputs, self.kept_state.read(), reset=reset, mask=mask)
            self.kept_state.write(state)
        else:
            x = project(self.input_projection, inputs)
            for block in self.blocks:
                x = block(x, reset=reset, mask=mask)
            x = self.final_norm(x)
        return x if self.pool is None else pooled(self.pool, x, mask)

    def outputs_of_stream(self, outputs: Tensor) -> Tensor:
        """All, or the last."""
        if self.pool in ("mean", "max"):
            raise ValueError(
                f"{type(self).__name__}: a pool of a stream must be None or 'last', since the others read all steps "
                f"again. Got {self.pool!r}."
            )
        return outputs if self.pool is None else outputs[:, -1]

    def step(
        self, sample: Tensor, state: SequenceEncoderState, *, reset: Tensor | None = None
    ) -> tuple[Tensor, SequenceEncoderState]:
        """Continue by one sample: `advance` for a stream, compiled for the backend.

        Args:
            sample: `(B, F)`.
            state: from `initial_state` or an earlier call; its memory is overwritten, so it must not be used again.
            reset: `(B,)` bool, optional; a True row forgets everything before this sample, as where an episode begins.

        Returns:
            (features, state): `(B, D)` in the compute dtype, and the state after the sample.

        Raises:
            ValueError: the sample is not `(B, F)`, or the reset not `(B,)`; the state is not this layer's, or has
                another number of rows; or the layer is not built yet.
        """
        backends.check_not_forked("step")
        self.require_built("step")
        sample = ops.cast(as_tensor(sample), self.compute_dtype)
        if len(sample.shape) != 2 or sample.shape[1] != self.input_spec.axes[-1]:
            raise ValueError(
                f"step: a sample must have shape (B, {self.input_spec.axes[-1]}). Got {tuple(sample.shape)}."
            )
        self._check_state("step", state, sample.shape[0])
        marks = [] if reset is None else [ops.cast(as_tensor(reset), "bool")]
        if marks and tuple(marks[0].shape) != tuple(sample.shape[:1]):
            raise ValueError(f"step: a reset must have shape {tuple(sample.shape[:1])}. Got {tuple(marks[0].shape)}.")
        return prepared(_step, self, is_step=True)(state, sample, *marks)

    def _check_state(self, function_name, state, rows):
        received = None
        if not isinstance(state, SequenceEncoderState):
            received = f"a {type(state).__name__}"
        elif len(state.blocks) != len(self.blocks):
            received = f"one of {len(state.blocks)} blocks"
        elif isinstance(rows, int):
            others = {leaf.shape[0] for leaf in keras.tree.flatten(state)} - {None, rows}
            received = f"one of {', '.join(map(str, others))} rows" if others else None
        if received is not None:
            raise ValueError(
                f"{function_name}: the state must be one of this layer, of {rows} rows and {len(self.blocks)} blocks. "
                f"Got {received}."
            )

    def reset_state(self) -> None:
        """Forget the state of a stateful layer."""
        if self.stateful and self.built:
            self.kept_state.reset()

    reset_states = reset_state

    def compute_output_shape(self, inputs_shape):
        """One vector per step, or one per row."""
        batch_size, length, _ = inputs_shape
        return (batch_size, length, self.width) if self.pool is None else (batch_size, self.width)

    def compute_mask(self, inputs, previous_mask=None):
        """The inputs' mask, if there is a vector for each step."""
        return previous_mask if self.pool is None else None


def _step(encoder, state, sample, reset=None):
    reset = None if reset is None else ops.expand_dims(reset, 1)
    outputs, state = encoder.advance(ops.expand_dims(sample, 1), state, reset=reset)
    return outputs[:, 0], state


def pooled(pool: str, x: Tensor, mask: Tensor | None = None) -> Tensor:
    """One vector `(B, D)` from the unmasked steps of each row of `x (B, T, D)`; zeros for a row without any."""
    if pool == "last":
        return newest_step(x, mask, ops.sum(x[:, :0], axis=1))
    if 0 in x.shape[:2]:
        return ops.sum(x, axis=1)
    if mask is None:
        return ops.mean(x, axis=1) if pool == "mean" else ops.max(x, axis=1)
    seen = ops.expand_dims(mask, -1)
    if pool == "mean":
        count = ops.maximum(ops.sum(ops.cast(seen, x.dtype), axis=1), 1)
        return ops.sum(ops.where(seen, x, 0), axis=1) / count
    return ops.where(ops.any(seen, axis=1), ops.max(ops.where(seen, x, -math.inf), axis=1), 0)


def _gate_blocks(width: int, recurrence_width: int | None) -> int:
    """The default number of a gate's blocks; a recurrence width that is not given becomes a multiple of it."""
    if recurrence_width is not None:
        return default_num_gate_blocks(recurrence_width)
    return max(1, min(MOST_GATE_BLOCKS, 4 * width // 3 // GATE_WIDTH))
