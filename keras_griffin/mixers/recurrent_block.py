"""The recurrent block: a gated branch around a convolution and a recurrence."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Unpack

import keras
from keras import ops

from keras_griffin.checks import COUNT, one_of
from keras_griffin.layers import UNITS, StateSpec, TemporalConv1D, Weight, dense_weights, project
from keras_griffin.layers.base.mixer import ScaledMixer
from keras_griffin.layers.base.stream_start import start_stream
from keras_griffin.layers.base.weights import within
from keras_griffin.layers.initializers.decay_initializer import DECAY_INITIALIZER, DECAY_RANGE
from keras_griffin.layers.temporal_conv import TemporalConvState
from keras_griffin.layers.units.recurrence import UNIT_OPTIONS, plain_options, recurrence
from keras_griffin.shapes import LayerOptions, State, Tensor

#: The arguments of the block that a unit may have too.
SHARED = ("num_gate_blocks", "decay_initializer", "decay_range")


class RecurrentBlockState(NamedTuple):
    """The state of `RecurrentBlock`."""

    #: `(B,)` bool: whether a step has been seen.
    started: Tensor
    conv: TemporalConvState
    #: The recurrence's.
    unit: State


@keras.saving.register_keras_serializable("keras_griffin")
class RecurrentBlock(ScaledMixer):
    """Mix along time with an RG-LRU, or another recurrent unit in its place.

        y = W_out (gelu(W_gate x + b_gate) * RGLRU(conv(W_in x + b_in))) + b_out

    The first step of a stream is the start of a document: the RG-LRU takes its full input, as after a reset. (Equation
    4 of the paper does not specify this; the released code does it.)

    Args:
        recurrence_width: R, the width of the convolution and the recurrence.
        num_gate_blocks: blocks of each of the RG-LRU's gates; None for the default of `RGLRU`.
        conv_kernel_size: taps of the convolution.
        decay_initializer: `"ring"` or `"paper"`; see `RGLRU`.
        output_variance_scale: variance of the last kernel, in units of 1 / fan-in.
        decay_range: the range that the initial decays cover; see `RGLRU`.
        unit: the recurrence, a name from `keras_griffin.layers.UNITS`. Units that have no argument `num_gate_blocks`,
            `decay_initializer` or `decay_range` ignore it.
        unit_options: other constructor arguments of the unit.

    State: `RecurrentBlockState`. Call arguments, shapes, errors and `**kwargs`: see `keras_griffin.layers.Mixer`.

    Examples:
        >>> import numpy as np, keras_griffin
        >>> block = keras_griffin.mixers.RecurrentBlock(recurrence_width=16)
        >>> tuple(block(np.ones((2, 5, 8), "float32")).shape)
        (2, 5, 8)

    Reference: De et al. 2024 (arXiv 2402.19427), section 2.3, figure 2 (c).
    """

    state_type = RecurrentBlockState

    def __init__(
        self,
        recurrence_width: int,
        num_gate_blocks: int | None = None,
        conv_kernel_size: int = 4,
        decay_initializer: str = "ring",
        output_variance_scale: float = 1.0,
        decay_range: tuple[float, float] = (0.9, 0.999),
        unit: str = "rg_lru",
        unit_options: Mapping[str, Any] | None = None,
        **kwargs: Unpack[LayerOptions],
    ):
        super().__init__(output_variance_scale, **kwargs)
        self.recurrence_width = self.checked(COUNT, recurrence_width=recurrence_width)
        self.num_gate_blocks = self.checked(COUNT.or_none(), num_gate_blocks=num_gate_blocks)
        self.conv_kernel_size = self.checked(COUNT, conv_kernel_size=conv_kernel_size)
        self.decay_initializer = self.checked(DECAY_INITIALIZER, decay_initializer=decay_initializer)
        self.decay_range = self.checked(DECAY_RANGE, decay_range=decay_range)
        self.unit = self.checked(one_of(UNITS), unit=unit)
        self.unit_options = plain_options(self.checked(UNIT_OPTIONS.or_none(), unit_options=unit_options))
        self.conv = TemporalConv1D(conv_kernel_size, name="conv", dtype=self.dtype_policy)
        options = _unit_arguments(self)
        # The attribute has the unit's name: Keras's files store a layer under it.
        setattr(self, unit, recurrence(type(self).__name__, unit, UNITS[unit], options, self.dtype_policy))

    @classmethod
    def arguments_for_model(cls, config: Any) -> dict[str, Any]:
        names = ("recurrence_width", "num_gate_blocks", "conv_kernel_size", "decay_initializer")
        return {**super().arguments_for_model(config), **{name: getattr(config, name) for name in names}}

    @classmethod
    def weights_of(cls, width: int, **arguments: Any) -> dict[str, Weight]:
        given = cls.with_defaults(arguments)
        inner, unit, options = given.recurrence_width, UNITS[given.unit], _unit_arguments(given)
        groups = unit.groups_of(inner, **options)
        return {
            **dense_weights("gate", width, inner, 1, groups),
            **dense_weights("input_projection", width, inner, 1, groups),
            **dense_weights("output_projection", inner, width, 0, groups),
            "conv/kernel": Weight((given.conv_kernel_size, inner), 1, groups),
            "conv/bias": Weight((inner,), 0, groups),
            **within(given.unit, unit.weights_of(inner, **options)),
        }

    @classmethod
    def state_of(cls, width: int, tokens: int, **arguments: Any) -> dict[str, StateSpec]:
        given = cls.with_defaults(arguments)
        of_unit = UNITS[given.unit].state_of(given.recurrence_width, tokens, **_unit_arguments(given))
        return {
            "started": StateSpec((), "bool"),
            "conv.inputs": StateSpec((given.conv_kernel_size - 1, given.recurrence_width)),
            **{f"unit.{path}": part for path, part in of_unit.items()},
        }

    @classmethod
    def reach_of(cls, **arguments: Any) -> int | None:
        given = cls.with_defaults(arguments)
        of_unit = UNITS[given.unit].divisible_reach_of(**_unit_arguments(given))
        return None if of_unit is None else given.conv_kernel_size - 1 + of_unit

    def build(self, inputs_shape):
        super().build(inputs_shape)
        for layer in (self.conv, self._recurrence()):
            layer.build((*inputs_shape[:-1], self.recurrence_width))

    def initial_state(self, batch_size: int) -> RecurrentBlockState:
        """Zeros, and no step seen."""
        self.require_built("initial_state")
        parts = (part.initial_state(batch_size) for part in (self.conv, self._recurrence()))
        return RecurrentBlockState(ops.zeros((batch_size,), "bool"), *parts)

    def advance(
        self, inputs: Tensor, state: RecurrentBlockState, *, reset: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, RecurrentBlockState]:
        """Continue from `state`; see `SequenceLayer.advance`."""
        inputs, reset, mask = self.prepare(inputs, reset, mask)
        start, started = start_stream(state.started, inputs, reset, mask)
        gate = keras.activations.gelu(project(self.gate, inputs), approximate=True)
        mixed, conv = self.conv.advance(project(self.input_projection, inputs), state.conv, reset=reset, mask=mask)
        mixed, unit = self._recurrence().advance(mixed, state.unit, reset=start, mask=mask)
        return project(self.output_projection, gate * mixed), RecurrentBlockState(started, conv, unit)

    def _recurrence(self):
        return getattr(self, self.unit)


def _unit_arguments(block):
    """The unit's arguments: its own, and the block's that it also has."""
    shared = [name for name in SHARED if name in UNITS[block.unit].argument_names()]
    return {**{name: getattr(block, name) for name in shared}, **(block.unit_options or {})}
