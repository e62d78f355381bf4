"""GateLoop's mixing."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_griffin.layers import StateSpec, Weight, dense_weights, project
from keras_griffin.layers.base.initialization import given
from keras_griffin.layers.base.mixer import ScaledMixer
from keras_griffin.layers.projection import projected
from keras_griffin.ops import linear_scan
from keras_griffin.shapes import Tensor


class GateLoopState(NamedTuple):
    """The state of `GateLoop`."""

    #: `(B, 2 D)`, float32: [Re h; Im h] after the last step.
    hidden: Tensor


@keras.saving.register_keras_serializable("keras_griffin")
class GateLoop(ScaledMixer):
    """Mix along time as GateLoop does: linear attention whose decays are complex, and set by the input.

        q_t, k_t, v_t = W x_t, each its own
        a_t = sigmoid(alpha_t) exp(i beta_t)            alpha_t, beta_t = W x_t + b, each its own
        h_t = a_t * h_{t-1} + k_t * v_t
        y_t = W_out (q_t * Re(h_t) * silu(W_gate x_t))

    Each channel is a head, so that its state is one complex number, a pair of real ones throughout. At first sigmoid of
    alpha's bias is from 0.73 to 0.993, for memories of 4 to 150 steps; the paper names none.

    Args:
        output_variance_scale: variance of the last kernel, in units of 1 / fan-in.

    State: `GateLoopState`. Call arguments, shapes, errors and `**kwargs`: see `keras_griffin.layers.Mixer`.

    Examples:
        >>> import numpy as np, keras_griffin
        >>> tuple(keras_griffin.mixers.GateLoop()(np.ones((2, 5, 8), "float32")).shape)
        (2, 5, 8)

    Reference: Katsch 2023 (arXiv 2311.01927), section 3.
    """

    state_type = GateLoopState

    @classmethod
    def weights_of(cls, width: int, **others: Any) -> dict[str, Weight]:
        weights: dict[str, Weight] = {}
        for name in ("query", "key", "value", "gate", "size", "phase"):
            weights |= dense_weights(name, width, width, 1, ("width", width), bias=name in ("size", "phase"))
        return weights | dense_weights("output_projection", width, width, 0, ("width", width), bias=False)

    @classmethod
    def state_of(cls, width: int, tokens: int, **others: Any) -> dict[str, StateSpec]:
        return {"hidden": StateSpec((2 * width,), "float32")}

    @classmethod
    def reach_of(cls, **arguments: Any) -> int:
        return 0

    def initializers(self) -> dict[str, Callable]:
        return {**super().initializers(), "size/bias": given(np.linspace(1.0, 5.0, self.width))}

    def advance(
        self, inputs: Tensor, state: GateLoopState, *, reset: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, GateLoopState]:
        """Continue from `state`; see `SequenceLayer.advance`."""
        inputs, reset, mask = self.prepare(inputs, reset, mask)
        query, key, value, size, phase = projected(inputs, self.query, self.key, self.value, self.size, self.phase)
        size, entering = ops.sigmoid(size), key * value
        decay = size * ops.cos(phase), size * ops.sin(phase)
        start = tuple(ops.split(state.hidden, 2, axis=-1))
        (real, _), last = linear_scan(decay, (entering, ops.zeros_like(entering)), start, reset=reset, mask=mask)
        mixed = ops.cast(query * real, self.compute_dtype) * ops.silu(project(self.gate, inputs))
        return project(self.output_projection, mixed), GateLoopState(ops.concatenate(last, -1))
