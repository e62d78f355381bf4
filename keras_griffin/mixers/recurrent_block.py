"""The recurrent block: a gated branch around a convolution and an RG-LRU."""

from typing import Any, NamedTuple

import keras
from keras import ops

from keras_griffin.checks import COUNT, POSITIVE, checked, plain
from keras_griffin.layers import (
    RGLRU,
    RecurrentUnitState,
    TemporalConv1D,
    TemporalConvState,
    project,
    projection,
)
from keras_griffin.layers.decay_initializer import DECAY_INITIALIZER, DECAY_RANGE
from keras_griffin.layers.mixer import Kept, Mixer, Weight, dense_weights
from keras_griffin.layers.rg_lru import default_num_gate_blocks
from keras_griffin.ops.time_axis import positions
from keras_griffin.shapes import Tensor


class RecurrentBlockState(NamedTuple):
    """The state of `RecurrentBlock`."""

    #: `(B,)` bool: whether a step has been seen.
    started: Tensor
    conv: TemporalConvState
    rg_lru: RecurrentUnitState


@keras.saving.register_keras_serializable("keras_griffin")
class RecurrentBlock(Mixer):
    """Mix along time with an RG-LRU.

        y = W_out (gelu(W_gate x + b_gate) * RGLRU(conv(W_in x + b_in))) + b_out

    The first step of a stream is the start of a document: the RG-LRU takes its full input, as after a reset. (Equation
    4 of the paper does not specify this; the released code does it.)

    Args:
        recurrence_width: R, the width of the convolution and the RG-LRU.
        num_gate_blocks: blocks of each of the RG-LRU's gates; None for the default of `RGLRU`.
        conv_kernel_size: taps of the convolution.
        decay_initializer: `"paper"` or `"ring"`; see `RGLRU`.
        output_variance_scale: variance of the last kernel, in units of 1 / fan-in.
        decay_range: the range that the initial decays cover; see `RGLRU`.
        **kwargs: `name`, `dtype` and `trainable`, as for every Keras layer.

    Call arguments:
        inputs: `(B, T, D)`.
        reset: `(B, T)` bool, optional; at a True step everything before it is forgotten.
        mask: `(B, T)` bool, optional; a False step leaves the state unchanged.

    State: `RecurrentBlockState`.

    Input shape: `(B, T, D)`.

    Output shape: `(B, T, D)`.

    Raises:
        ValueError: an argument has a wrong type or value, or the blocks do not divide the recurrence width.

    Examples:
        >>> import numpy as np, keras_griffin
        >>> block = keras_griffin.mixers.RecurrentBlock(recurrence_width=16)
        >>> tuple(block(np.ones((2, 5, 8), "float32")).shape)
        (2, 5, 8)

    Reference: De et al. 2024 (arXiv 2402.19427), section 2.3, figure 2 (c).
    """

    undecayed = ("rg_lru",)

    def __init__(
        self,
        recurrence_width: int,
        num_gate_blocks: int | None = None,
        conv_kernel_size: int = 4,
        decay_initializer: str = "paper",
        output_variance_scale: float = 1.0,
        decay_range: tuple[float, float] = (0.9, 0.999),
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        name = type(self).__name__
        self.recurrence_width = checked(name, COUNT, recurrence_width=recurrence_width)
        self.num_gate_blocks = checked(name, COUNT.or_none(), num_gate_blocks=num_gate_blocks)
        self.conv_kernel_size = checked(name, COUNT, conv_kernel_size=conv_kernel_size)
        self.decay_initializer = checked(name, DECAY_INITIALIZER, decay_initializer=decay_initializer)
        self.output_variance_scale = checked(name, POSITIVE, output_variance_scale=output_variance_scale)
        self.decay_range = tuple(plain(bound) for bound in checked(name, DECAY_RANGE, decay_range=decay_range))
        self.conv = TemporalConv1D(conv_kernel_size, name="conv", dtype=self.dtype_policy)
        self.rg_lru = RGLRU(
            num_gate_blocks=num_gate_blocks,
            decay_range=decay_range,
            decay_initializer=decay_initializer,
            return_sequences=True,
            name="rg_lru",
            dtype=self.dtype_policy,
        )

    @classmethod
    def arguments_for_model(cls, config: Any) -> dict[str, Any]:
        """Widths, blocks and taps of the config."""
        return {
            "recurrence_width": config.recurrence_width,
            "num_gate_blocks": config.num_gate_blocks,
            "conv_kernel_size": config.conv_kernel_size,
            "decay_initializer": config.decay_initializer,
            "output_variance_scale": 2.0 / config.num_layers,
        }

    @classmethod
    def weights_of(
        cls,
        width: int,
        *,
        recurrence_width: int,
        num_gate_blocks: int | None = None,
        conv_kernel_size: int = 4,
        **others: Any,
    ) -> dict[str, Weight]:
        """Three projections, the convolution's taps, and the RG-LRU's gates and decays."""
        inner = recurrence_width
        blocks = default_num_gate_blocks(inner) if num_gate_blocks is None else num_gate_blocks
        units = ("num_gate_blocks", blocks)
        weights = {
            **dense_weights("gate", width, inner, 1, units),
            **dense_weights("input_projection", width, inner, 1, units),
            **dense_weights("output_projection", inner, width, 0, units),
            "conv/kernel": Weight((conv_kernel_size, inner), 1, units),
            "conv/bias": Weight((inner,), 0, units),
            "rg_lru/decay_parameter": Weight((inner,), 0, units),
        }
        for gate in ("recurrence_gate", "input_gate"):
            kernel = (blocks, inner // blocks, inner // blocks)
            weights[f"rg_lru/{gate}/blocks/kernel"] = Weight(kernel, 0, units, stored=(1,))
            weights[f"rg_lru/{gate}/blocks/bias"] = Weight((blocks, 1, inner // blocks), 0, units)
        return weights

    @classmethod
    def kept_of(
        cls, width: int, tokens: int, *, recurrence_width: int, conv_kernel_size: int = 4, **others: Any
    ) -> dict[str, Kept]:
        """h, and the inputs of the convolution's earlier taps."""
        return {
            "started": Kept((), "bool"),
            "conv.inputs": Kept((conv_kernel_size - 1, recurrence_width)),
            "rg_lru.hidden": Kept((recurrence_width,), "float32"),
        }

    @classmethod
    def reach_of(cls, *, conv_kernel_size: int = 4, **others: Any) -> int:
        """The convolution's earlier taps."""
        return conv_kernel_size - 1

    def build(self, inputs_shape):
        """Create the three projections, and build the convolution and the RG-LRU."""
        super().build(inputs_shape)
        width = self.width
        inner_shape = (*inputs_shape[:-1], self.recurrence_width)
        self.gate = projection(self.recurrence_width, name="gate", dtype=self.dtype_policy)
        self.input_projection = projection(self.recurrence_width, name="input_projection", dtype=self.dtype_policy)
        self.output_projection = projection(
            width, variance_scale=self.output_variance_scale, name="output_projection", dtype=self.dtype_policy
        )
        self.gate.build((None, width))
        self.input_projection.build((None, width))
        self.conv.build(inner_shape)
        self.rg_lru.build(inner_shape)
        self.output_projection.build((None, self.recurrence_width))

    def initial_state(self, batch_size: int) -> RecurrentBlockState:
        """Zeros, and no step seen."""
        self.require_built("initial_state")
        started = ops.zeros((batch_size,), "bool")
        return RecurrentBlockState(started, self.conv.initial_state(batch_size), self.rg_lru.initial_state(batch_size))

    def advance(
        self, inputs: Tensor, state: RecurrentBlockState, *, reset: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, RecurrentBlockState]:
        """Continue from `state`; see `SequenceLayer.advance`."""
        inputs, reset, mask = self.prepare(inputs, reset, mask)
        first, started = _first_step(state.started, inputs, mask)
        gate = keras.activations.gelu(project(self.gate, inputs), approximate=True)
        mixed, conv = self.conv.advance(project(self.input_projection, inputs), state.conv, reset=reset, mask=mask)
        start = first if reset is None else ops.logical_or(first, reset)
        mixed, rg_lru = self.rg_lru.advance(mixed, state.rg_lru, reset=start, mask=mask)
        return project(self.output_projection, gate * mixed), RecurrentBlockState(started, conv, rg_lru)


def _first_step(started, inputs, mask):
    """Which step `(B, T)`, if any, is the first of its row's stream, and which rows `(B,)` have started afterwards."""
    fresh = ops.logical_not(ops.expand_dims(started, 1))
    if mask is None:
        return ops.logical_and(fresh, positions(ops.shape(inputs)[1]) == 0), ops.ones_like(started)
    steps = ops.cumsum(ops.cast(mask, "int32"), axis=1)
    return ops.logical_and(fresh, mask & (steps == 1)), ops.logical_or(started, ops.any(mask, axis=1))
