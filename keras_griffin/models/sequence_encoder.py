"""A stack of residual blocks over sequences of real-valued features."""

import itertools
import math
from collections.abc import Mapping
from typing import Any, NamedTuple, Unpack

import keras
from keras import ops

from keras_griffin import backends
from keras_griffin.checks import COUNT, FLAG, FRACTION, checked, one_of
from keras_griffin.generation import register_state_type
from keras_griffin.generation.capacity import grows
from keras_griffin.generation.compilers.compile import prepared
from keras_griffin.layers import CGLRU, UNITS, RMSNorm, SequenceLayer, project, projection
from keras_griffin.layers.base.initialization import random_initializer
from keras_griffin.layers.base.stateful_variables import StatefulVariables
from keras_griffin.layers.units.rg_lru import GATE_WIDTH, MOST_GATE_BLOCKS, default_num_gate_blocks
from keras_griffin.mixers.recurrent_block import SHARED
from keras_griffin.models.config import OPTIONS, RULES, GriffinConfig
from keras_griffin.models.encoder_arguments import reject_arguments_of_others
from keras_griffin.models.pooling import POOLS, Pool, PoolState, parts_of, since_the_last
from keras_griffin.models.residual_blocks import residual_blocks
from keras_griffin.ops.shared.arguments import as_tensor
from keras_griffin.shapes import LayerOptions, State, Tensor

#: Initial decays of a recurrent block. The paper's, 0.9 to 0.999, had 1.35 times the error on half-hourly demand, and
#: about the same error on two other data sets.
DECAYS = {"decay_range": (0.5, 0.99), "decay_initializer": "paper"}


@register_state_type
class SequenceEncoderState(NamedTuple):
    """The state of `SequenceEncoder`."""

    #: The blocks' states, in order.
    blocks: tuple[State, ...]
    #: The pool's.
    pool: PoolState | Any = ()


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
        pool: None for every step's output; `"last"`, `"mean"`, `"max"` or `"mean_max"` (the two, joined) for one vector
            per row, from the unmasked steps since the last reset, and zeros for a row that has none. Where targets are
            one for each row, a forgotten pool goes unnoticed: Keras's `"mse"` and `"mae"` broadcast `(B, 1)` against
            `(B, T, 1)`.
        bidirectional: whether each block mixes in both directions of time.
        dropout: the dropout rate of each branch in training.
        block_pattern: names of mixers, repeated and cut to `num_layers`; see `GriffinConfig`.
        mlp_width: M, the width inside the gated MLPs; 0 for blocks without an MLP, None for 2 D.
        recurrence_width: R, the width of recurrences; None for about 4 D / 3.
        num_heads: the number of attention heads; divides the width.
        window: the number of steps that local attention sees, including the query's own.
        conv_kernel_size: taps of the convolution before a recurrence.
        unit: the recurrence of a recurrent block, a name from `keras_griffin.layers.UNITS`; an option in
            `mixer_options` takes its place. `"s5"` is time-invariant; the gates of `"cg_lru"` read the inputs, which
            takes longer, and is better on some data.
        mixer_options: as in `GriffinConfig`: a mixer's options by its name. If the unit has gates, their blocks have 16
            channels or more, and the initial decays are between 0.5 and 0.99.
        stateful: start each call where the last one ended, until `reset_state`; needs a known batch size.
        **kwargs: `name`, `dtype` and `trainable`, as for every Keras layer.

    Call arguments:
        inputs: `(B, T, F)`.
        reset: `(B, T)` bool, optional; at a True step everything before it is forgotten.
        mask: `(B, T)` bool, optional; a False step is skipped.

    State: `SequenceEncoderState`.

    Input shape: `(B, T, F)`.

    Output shape: `(B, T, D)`; `(B, D)` with a pool, `(B, 2 D)` with `"mean_max"`.

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

    def __new__(cls, *positional, **options):
        """Raise for an LSTM's arguments, as `RecurrentUnit` does."""
        reject_arguments_of_others(cls, options)
        return super().__new__(cls, *positional, **options)

    def __init__(
        self,
        width: int,
        num_layers: int = 2,
        *,
        pool: str | None = None,
        bidirectional: bool = False,
        dropout: float = 0.0,
        block_pattern: tuple[str, ...] = ("recurrent",),
        mlp_width: int | None = 0,
        recurrence_width: int | None = None,
        num_heads: int = 1,
        window: int = 128,
        conv_kernel_size: int = 16,
        unit: str = "s5",
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
        self.mlp_width = checked(name, RULES["mlp_width"], mlp_width=mlp_width)
        self.unit = checked(name, one_of(UNITS), unit=unit)
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
        self.final_pool = None if pool is None else Pool(pool, name="final_pool", dtype=self.dtype_policy)

    @classmethod
    def from_config(cls, config):
        # Here `keras.layers.Bidirectional` makes its layers, and Keras would bury the sentence in a config.
        reject_arguments_of_others(cls, config)
        # Files from before there was a choice.
        return super().from_config({"unit": "rg_lru", **config})

    def _config(self, num_layers, num_heads, window, conv_kernel_size, block_pattern):
        """The config that mixers read: a language model's."""
        given = self.mixer_options or {}
        defaults = {"recurrent": {"unit": self.unit, **DECAYS}}
        used = [kind for kind in defaults if isinstance(block_pattern, list | tuple) and kind in block_pattern]
        options = {kind: {**defaults.get(kind, {}), **given.get(kind, {})} for kind in (*used, *given)}
        self._reject_options_without_effect(given.get("recurrent", {}))
        blocks = divisor = _gate_blocks(self.width, self.recurrence_width)
        halved = [name for name, unit in UNITS.items() if issubclass(unit, CGLRU)]
        for each in options.values():
            if each.get("unit") in halved:
                # Its gates have half the width, which the blocks divide too.
                divisor = 2 * blocks if self.recurrence_width is None else blocks
                width = each.get("recurrence_width", self.recurrence_width)
                each.setdefault("num_gate_blocks", math.gcd(blocks, width // 2) if COUNT.holds(width) else blocks)
        try:
            return GriffinConfig(
                vocabulary_size=1,
                width=self.width,
                num_layers=num_layers,
                num_heads=num_heads,
                mlp_width=2 * self.width if self.mlp_width is None else self.mlp_width,
                recurrence_width=self.recurrence_width,
                window=window,
                conv_kernel_size=conv_kernel_size,
                block_pattern=block_pattern,
                num_gate_blocks=divisor,
                # Options of a mixer outside the pattern are passed on too, and the config refuses them.
                mixer_options=options,
            )
        except ValueError as error:
            raise ValueError(f"{type(self).__name__}: {str(error).removeprefix('GriffinConfig: ')}") from None

    def _reject_options_without_effect(self, given):
        """Raise for a recurrent block's options that the unit lacks, which the block would ignore."""
        lacking = [] if "unit" in given else [name for name in SHARED if name not in UNITS[self.unit].argument_names()]
        for name in lacking:
            if name in given:
                raise ValueError(
                    f"{type(self).__name__}: {name} must be left out, since {self.unit} has none; the unit cg_lru has. "
                    f"Got {name}={given[name]}."
                )

    @property
    def layers(self) -> list[keras.layers.Layer]:
        """The parts along the stream, each once: blocks may be shared. `summary(expand_nested=True)` lists them."""
        # Keras's files name each after the attribute that comes first in the alphabet: theirs are before `layers`.
        pool = [] if self.final_pool is None else [self.final_pool]
        return [self.input_projection, *dict.fromkeys(self.blocks), self.final_norm, *pool]

    def __call__(self, inputs, *arguments, **options):
        """As for every layer; an LSTM's `initial_state` is an error."""
        if "initial_state" in options:
            raise ValueError(
                f"{type(self).__name__}: a call must have no initial_state; advance(inputs, state) begins from "
                f"a state. Got a {type(options['initial_state']).__name__}."
            )
        return super().__call__(inputs, *arguments, **options)

    def build(self, inputs_shape):
        """Build the parts, and create the kept state of a stateful layer."""
        self.input_spec = keras.layers.InputSpec(ndim=3, axes={-1: inputs_shape[-1]})
        stream_shape = (*inputs_shape[:-1], self.width)
        for part in self.layers:
            part.build(inputs_shape if part is self.input_projection else stream_shape)
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
        blocks = tuple(block.initial_state(batch_size) for block in self.blocks)
        pool = () if self.final_pool is None else self.final_pool.initial_state(batch_size)
        return SequenceEncoderState(blocks, pool)

    def prepare(
        self, inputs: Tensor, reset: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """As in the base class; with a pool the inputs are zero before the last reset too."""
        inputs, reset, mask = super().prepare(inputs, reset, mask)
        if self.pool is not None and reset is not None and inputs.shape[1] != 1:
            # No output tells of these steps, and with NaN there the projection's gradient would be zero times NaN.
            seen, _ = since_the_last(reset, mask)
            inputs = ops.where(ops.expand_dims(seen, -1), inputs, ops.zeros_like(inputs))
        return inputs, reset, mask

    def advance(
        self, inputs: Tensor, state: SequenceEncoderState, *, reset: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, SequenceEncoderState]:
        """Continue from `state`; see `SequenceLayer.advance`. With a pool, the pool of all steps so far."""
        inputs, reset, mask = self.prepare(inputs, reset, mask)
        self._check_state("advance", state, inputs.shape[0])
        x, states = project(self.input_projection, inputs), []
        for block, block_state in zip(self.blocks, state.blocks, strict=True):
            x, block_state = block.advance(x, block_state, reset=reset, mask=mask)
            states.append(block_state)
        x = self.final_norm(x)
        if self.final_pool is None:
            return x, SequenceEncoderState(tuple(states))
        x, pool = self.final_pool.advance(x, state.pool, reset=reset, mask=mask)
        return x, SequenceEncoderState(tuple(states), pool)

    def call(self, inputs, reset=None, mask=None, inputs_mask=None):
        """The whole sequence, from the start or, in a stateful layer, from where the last call ended.

        Arguments as in `SequenceLayer.call`.
        """
        inputs, reset, mask = self.prepare(inputs, reset, inputs_mask if mask is None else mask)
        if self.stateful:
            self.kept_state.check_rows(type(self).__name__, inputs)
            x, state = self.advance(inputs, self.kept_state.read(), reset=reset, mask=mask)
            self.kept_state.write(state)
            return x
        x = project(self.input_projection, inputs)
        for block in self.blocks:
            x = block(x, reset=reset, mask=mask)
        x = self.final_norm(x)
        return x if self.final_pool is None else self.final_pool(x, reset=reset, mask=mask)

    def step(
        self, sample: Tensor, state: SequenceEncoderState, *, reset: Tensor | None = None
    ) -> tuple[Tensor, SequenceEncoderState]:
        """Continue by one sample: `advance` for a stream, compiled for the backend.

        Args:
            sample: `(B, F)`.
            state: from `initial_state` or an earlier call; it stays as it is, and may be continued again.
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
        # Donating would save 3 % of a step on JAX and a CPU, with 64 rows and a window of 128 keys 14 %, and the state
        # would be lost there alone.
        return prepared(_step, self, is_step=True, donates=False)(state, sample, *marks)

    def _check_state(self, function_name, state, rows):
        received = None
        if not isinstance(state, SequenceEncoderState):
            received = f"a {type(state).__name__}"
        elif len(state.blocks) != len(self.blocks):
            received = f"one of {len(state.blocks)} blocks"
        elif parts_of(state.pool) != (POOLS[self.pool] if self.pool else ()):
            received = "one of another pool"
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
        each_step = (batch_size, length, self.width)
        return each_step if self.final_pool is None else self.final_pool.compute_output_shape(each_step)

    def compute_mask(self, inputs, previous_mask=None):
        """The inputs' mask, if there is a vector for each step."""
        return previous_mask if self.pool is None else None


def _step(encoder, state, sample, reset=None):
    reset = None if reset is None else ops.expand_dims(reset, 1)
    outputs, state = encoder.advance(ops.expand_dims(sample, 1), state, reset=reset)
    return outputs if encoder.pool else outputs[:, 0], state


def _gate_blocks(width: int, recurrence_width: int | None) -> int:
    """The default number of a gate's blocks; a recurrence width that is not given becomes a multiple of it."""
    if recurrence_width is not None:
        return default_num_gate_blocks(recurrence_width)
    return max(1, min(MOST_GATE_BLOCKS, 4 * width // 3 // GATE_WIDTH))
