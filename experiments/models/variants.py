"""Gated updates beside that of the RG-LRU: equation 7 and Figure 7 of the paper.

    h_t = alpha(r_t) * h_{t-1} + beta(r_t) * x_t                    (7)

                alpha(r)         beta(r)
    RG-LRU      a^(c r)          sqrt(1 - alpha^2)
    GRU         1 - r            r
    Mamba       (1 - r)^a        (1 - alpha) / a
    LRU         a                sqrt(1 - a^2)

Mamba's a is -A of the paper, with B = C = 1. Its beta is printed as (1 - alpha) / A, which is negative; the sign here
is that of Figure 7 and of Mamba's discretisation. `keras_griffin.inspection.plot_gate_behaviour` draws them all.

Reference: De et al. 2024 (arXiv 2402.19427), appendix A.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import keras
from keras import ops

from keras_griffin.ops import linear_scan
from keras_griffin.ops.bounded_sqrt import bounded_sqrt
from keras_griffin.shapes import Tensor


class Update(NamedTuple):
    """The factors of the past and of the input, each a function of the gate."""

    alpha: Callable[[Tensor], Tensor]
    beta: Callable[[Tensor], Tensor]


def rg_lru(decay: float, exponent: float = 8.0) -> Update:
    """The paper's update: it can ignore the input, but can't forget everything.

    Args:
        decay: a, from 0 to 1.
        exponent: c.
    """
    rate = exponent * math.log(decay)
    return Update(lambda gate: ops.exp(rate * gate), lambda gate: bounded_sqrt(-ops.expm1(2 * rate * gate)))


def gru() -> Update:
    """The update of a GRU: between the past and the input."""
    return Update(lambda gate: 1 - gate, lambda gate: gate)


def mamba(decay: float | Tensor) -> Update:
    """Mamba's update, which is nearly the GRU's where a is near 1.

    Args:
        decay: a = -A, above 0: a number, or one for each channel.
    """

    def alpha(gate):
        return ops.power(1 - gate, decay)

    return Update(alpha, lambda gate: (1 - alpha(gate)) / decay)


def lru(decay: float) -> Update:
    """The update of an LRU, which has no gate.

    Args:
        decay: a, from 0 to 1.
    """
    kept, let_in = decay, math.sqrt(1 - decay**2)
    return Update(lambda gate: ops.full_like(gate, kept), lambda gate: ops.full_like(gate, let_in))


class GatedUpdate(keras.layers.Layer):
    """A recurrence whose gate decides what it keeps and what it lets in.

        r_t = sigmoid(W x_t + b)
        h_t = alpha(r_t) * h_{t-1} + beta(r_t) * x_t        h_0 = 0

    Args:
        alpha: the factor of the past.
        beta: the factor of the input; both are functions of the gate, `(B, T, D)`, as in an `Update`.

    Call:
        x: `(B, T, D)` float.

        Returns h, `(B, T, D)`.

    Examples:
        >>> import numpy as np
        >>> from experiments.models.variants import GatedUpdate, rg_lru
        >>> GatedUpdate(*rg_lru(0.9))(np.ones((1, 3, 4), "float32")).shape == (1, 3, 4)
        True
    """

    def __init__(self, alpha: Callable[[Tensor], Tensor], beta: Callable[[Tensor], Tensor], **kwargs):
        super().__init__(**kwargs)
        self.alpha, self.beta = alpha, beta

    def build(self, shape):
        """Create the gate."""
        self.gate = keras.layers.Dense(
            shape[-1], activation="sigmoid", kernel_initializer="lecun_normal", name="gate", dtype=self.dtype_policy
        )
        self.gate.build(shape)

    def call(self, x):
        """h for x."""
        gate = self.gate(x)
        return linear_scan(self.alpha(gate), self.beta(gate) * x)[0]
