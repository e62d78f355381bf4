"""A recurrent unit with an output projection: the block in which most of the papers use theirs."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Unpack

import keras
from keras import ops

from keras_griffin.checks import one_of
from keras_griffin.layers import UNITS, StateSpec, Weight, dense_weights, project
from keras_griffin.layers.base.mixer import ScaledMixer
from keras_griffin.layers.base.stream_start import start_stream
from keras_griffin.layers.base.weights import within
from keras_griffin.layers.units.recurrence import UNIT_OPTIONS, plain_options, recurrence
from keras_griffin.shapes import LayerOptions, State, Tensor

READOUTS = ("dense", "glu")


class UnitBlockState(NamedTuple):
    """The state of `UnitBlock`."""

    #: `(B,)` bool: whether a step has been seen.
    started: Tensor
    #: The unit's.
    unit: State


@keras.saving.register_keras_serializable("keras_griffin")
class UnitBlock(ScaledMixer):
    """Mix along time with a recurrent unit, then along channels.

        y = W_out unit(x) + b_out                                               "dense"
        u = gelu(unit(x)),  y = (W_out u + b_out) * sigmoid(W_gate u + b_gate)      "glu"

    State space models and the LRU were published with `"glu"`: their recurrence is linear in x, and without it the
    block would be too. In a model's pattern, each name in `keras_griffin.layers.UNITS` is this block with that unit.
    The first step of a stream is the start of a document, as after a reset.

    Args:
        unit: a name from `keras_griffin.layers.UNITS`.
        readout: `"dense"` or `"glu"`; None for what the unit was published with.
        output_variance_scale: variance of the last kernel, in units of 1 / fan-in.
        unit_options: other constructor arguments of the unit.

    State: `UnitBlockState`. Call arguments, shapes, errors and `**kwargs`: see `keras_griffin.layers.Mixer`.

    Examples:
        >>> import numpy as np, keras_griffin
        >>> block = keras_griffin.mixers.UnitBlock("rg_lru")
        >>> tuple(block(np.ones((2, 5, 8), "float32")).shape)
        (2, 5, 8)

    Reference: for `"glu"`, Gu et al. 2021 (arXiv 2111.00396), appendix D, and Orvieto et al. 2023 (arXiv 2303.06349),
    figure 1.
    """

    state_type = UnitBlockState

    def __init__(
        self,
        unit: str,
        readout: str | None = None,
        output_variance_scale: float = 1.0,
        unit_options: Mapping[str, Any] | None = None,
        **kwargs: Unpack[LayerOptions],
    ):
        super().__init__(output_variance_scale, **kwargs)
        self.unit = self.checked(one_of(UNITS), unit=unit)
        self.readout = self.checked(one_of(READOUTS).or_none(), readout=readout)
        self.unit_options = plain_options(self.checked(UNIT_OPTIONS.or_none(), unit_options=unit_options))
        self.recurrence = recurrence(type(self).__name__, unit, UNITS[unit], self.unit_options, self.dtype_policy)

    @classmethod
    def weights_of(cls, width: int, **arguments: Any) -> dict[str, Weight]:
        given = cls.with_defaults(arguments)
        unit, options = UNITS[given.unit], given.unit_options or {}
        weights = within(given.unit, unit.weights_of(width, **options))
        is_dense = (given.readout or unit.published_readout) == "dense"
        for name in ("output_projection",) if is_dense else ("output_projection", "gate"):
            weights |= dense_weights(name, width, width, 0, unit.groups_of(width, **options))
        return weights

    @classmethod
    def state_of(cls, width: int, tokens: int, **arguments: Any) -> dict[str, StateSpec]:
        given = cls.with_defaults(arguments)
        of_unit = UNITS[given.unit].state_of(width, tokens, **(given.unit_options or {}))
        return {"started": StateSpec((), "bool"), **{f"unit.{path}": part for path, part in of_unit.items()}}

    @classmethod
    def reach_of(cls, **arguments: Any) -> int | None:
        given = cls.with_defaults(arguments)
        return UNITS[given.unit].divisible_reach_of(**(given.unit_options or {}))

    def build(self, inputs_shape):
        self.recurrence.build(inputs_shape)
        super().build(inputs_shape)

    def initial_state(self, batch_size: int) -> UnitBlockState:
        """The unit's, and no step seen."""
        self.require_built("initial_state")
        return UnitBlockState(ops.zeros((batch_size,), "bool"), self.recurrence.initial_state(batch_size))

    def advance(
        self, inputs: Tensor, state: UnitBlockState, *, reset: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, UnitBlockState]:
        """Continue from `state`; see `SequenceLayer.advance`."""
        inputs, reset, mask = self.prepare(inputs, reset, mask)
        start, started = start_stream(state.started, inputs, reset, mask)
        mixed, unit = self.recurrence.advance(inputs, state.unit, reset=start, mask=mask)
        state = UnitBlockState(started, unit)
        if (self.readout or self.recurrence.published_readout) == "dense":
            return project(self.output_projection, mixed), state
        mixed = keras.activations.gelu(mixed, approximate=True)
        return project(self.output_projection, mixed) * ops.sigmoid(project(self.gate, mixed)), state
