"""The attention-free transformer's mixing."""

from typing import Any, NamedTuple

import keras
from keras import ops

from keras_griffin.layers import StateSpec, Weight, dense_weights, project
from keras_griffin.layers.base.mixer import ScaledMixer
from keras_griffin.layers.projection import projected
from keras_griffin.layers.running_average import RunningAverage, running_average
from keras_griffin.ops.log_scan.log_numbers import NOTHING
from keras_griffin.shapes import Tensor


class AFTState(NamedTuple):
    """The state of `AFT`."""

    #: `(B, D)`, float32: the average of the values so far.
    average: Tensor
    #: `(B, D)`, float32: the logarithm of the sum of their weights; -1e30 before the first.
    log_weight: Tensor


@keras.saving.register_keras_serializable("keras_griffin")
class AFT(ScaledMixer):
    """Mix along time as the attention-free transformer does (AFT-simple): a gated average of all values so far.

        q_t, k_t, v_t = W x_t, each its own
        y_t = W_out (sigmoid(q_t) * sum_{i <= t} exp(k_i) v_i / sum_{i <= t} exp(k_i))

    The state keeps the average and the logarithm of its weights, both float32, so no key overflows.

    Args:
        output_variance_scale: variance of the last kernel, in units of 1 / fan-in.

    State: `AFTState`. Call arguments, shapes, errors and `**kwargs`: see `keras_griffin.layers.Mixer`.

    Examples:
        >>> import numpy as np, keras_griffin
        >>> tuple(keras_griffin.mixers.AFT()(np.ones((2, 5, 8), "float32")).shape)
        (2, 5, 8)

    Reference: Zhai et al. 2021 (arXiv 2105.14103), section 3.2, AFT-simple with a causal mask.
    """

    state_type = AFTState

    @classmethod
    def weights_of(cls, width: int, **others: Any) -> dict[str, Weight]:
        groups = ("width", width)
        weights: dict[str, Weight] = {}
        for name in ("query", "key", "value", "output_projection"):
            weights |= dense_weights(name, width, width, int(name != "output_projection"), groups, bias=False)
        return weights

    @classmethod
    def state_of(cls, width: int, tokens: int, **others: Any) -> dict[str, StateSpec]:
        return {"average": StateSpec((width,), "float32"), "log_weight": StateSpec((width,), "float32", NOTHING)}

    @classmethod
    def reach_of(cls, **others: Any) -> int:
        return 0

    def advance(
        self, inputs: Tensor, state: AFTState, *, reset: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, AFTState]:
        """Continue from `state`; see `SequenceLayer.advance`."""
        inputs, reset, mask = self.prepare(inputs, reset, mask)
        query, key, value = projected(inputs, self.query, self.key, self.value)
        after, _, last = running_average(ops.zeros_like(key), key, value, RunningAverage(*state), reset, mask)
        mixed = ops.cast(ops.sigmoid(query) * after.average, self.compute_dtype)
        return project(self.output_projection, mixed), AFTState(*last)
