"""How slowly a recurrence forgets, and how often the derivative of its square root is bounded."""

from dataclasses import dataclass

import numpy as np
from keras import ops

from keras_griffin.layers.base.sequence_layer import Decays
from keras_griffin.shapes import Tensor


@dataclass(frozen=True)
class DecayReport:
    """The decays of one recurrence over a batch, for each of its channels; in an RG-LRU

        a_t = exp(-c softplus(-Lambda) r_t),  r_t = sigmoid(W_a x_t + b_a)

    Padding does not count, nor does the first step of each document, whose decay is 0 whatever the weights are. In a
    complex unit a_t is the magnitude of the decay.

    Args:
        layer: the layer's path, `block_3/mixer/rg_lru`.
        slow: `(R,)` float64, the share of the steps with a_t above the threshold.
        bounded: `(R,)` float64, the share of the steps at which the derivative of sqrt(1 - a_t^2) is at its bound:
            where 1 - a_t^2 is at most 2.5e-7, and the gradient of a_t is not exact.
    """

    layer: str
    slow: np.ndarray
    bounded: np.ndarray

    @property
    def slow_channels(self) -> float:
        """The share of the channels that are slow at more than half of the steps."""
        return float(np.mean(self.slow > 0.5))

    @property
    def slow_steps(self) -> float:
        """The share of all steps of all channels with a_t above the threshold."""
        return float(np.mean(self.slow))

    @property
    def bounded_sqrt_hits(self) -> float:
        """The share of all steps of all channels with the square root's derivative at its bound."""
        return float(np.mean(self.bounded))

    def __str__(self):
        return (
            f"{self.layer}: {self.slow_channels:.1%} of the channels slow, {self.slow_steps:.1%} of the steps; "
            f"sqrt at its bound in {self.bounded_sqrt_hits:.2%}"
        )


def decay_sums(decays: Decays, reset: Tensor | None, mask: Tensor | None, threshold: float) -> tuple:
    """The counts for `report_of`: slow and bounded steps `(R,)`, and a scalar, of those unmasked and not reset."""
    below_one, at_bound = decays
    counted = ops.ones_like(below_one[..., 0])
    if reset is not None:
        counted = ops.where(reset, 0.0, counted)
    if mask is not None:
        counted = ops.where(mask, counted, 0.0)
    counted = ops.expand_dims(counted, -1)
    slow = ops.sum(counted * ops.cast(below_one > threshold - 1.0, "float32"), axis=(0, 1))
    bounded = ops.sum(counted * ops.cast(at_bound, "float32"), axis=(0, 1))
    return slow, bounded, ops.sum(counted)


def report_of(path: str, sums: list[np.ndarray]) -> DecayReport:
    """The report from the results of `decay_sums`, as arrays; if no step counts, all shares are 0."""
    slow, bounded, steps = (np.asarray(array, "float64") for array in sums)
    return DecayReport(path, slow / max(steps, 1.0), bounded / max(steps, 1.0))
