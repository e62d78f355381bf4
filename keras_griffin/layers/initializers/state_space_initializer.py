"""Initial values of state space models: of the continuous system, and of decays on a ring.

References: Gu et al. 2021 (arXiv 2111.00396), theorem 1, and Gu et al. 2022 (arXiv 2206.11893), section 3.3, for
HiPPO-LegS, and section 4 for diagonal systems; Smith et al. 2022 (arXiv 2208.04933), appendix B.1, for B and C in its
eigenvectors; Orvieto et al. 2023 (arXiv 2303.06349), lemma 3.2, for the ring.
"""

import math
from collections.abc import Callable

import keras
import numpy as np
from keras import ops

from keras_griffin.layers.base.configured import range_rule
from keras_griffin.layers.base.initialization import random_initializer
from keras_griffin.shapes import Tensor

#: The rule for the range of a system's steps.
STEP_RANGE = range_rule("0 < low <= high", lambda low, high: 0.0 < low <= high < math.inf)


def hippo_legs(size: int) -> tuple[np.ndarray, np.ndarray]:
    """The normal part of HiPPO-LegS, diagonalised: its eigenvalues, and their unitary eigenvectors as columns.

        A_nk = -sqrt((2 n + 1) (2 k + 1)) for n > k, -(n + 1) for n = k, 0 otherwise
        A + P P^T = V diag(lambda) V*,  P_n = sqrt(n + 1/2)

    Every eigenvalue has the real part -1/2; they are sorted by their imaginary part. Both are complex128.
    """
    # The eigenvectors of A itself have a condition number of 1e19 at size 32.
    root = np.sqrt(np.arange(size) + 0.5)
    skew = np.tril(-np.outer(root, root), -1)
    skew = skew - skew.T
    imaginary, vectors = np.linalg.eigh(-1j * skew)
    return -0.5 + 1j * imaginary, vectors


def legs_of_pairs(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """HiPPO-LegS for one of each conjugate pair: lambda, P and B, complex128 `(N / 2,)`.

    V* A V = diag(lambda) - P P*,  P = V* P',  B = V* B',  P'_n = sqrt(n + 1/2),  B'_n = sqrt(2 n + 1)
    """
    eigenvalues, vectors = hippo_legs(size)
    # The second half has the positive imaginary parts.
    kept = slice(-(size // 2), None)
    low_rank = vectors[:, kept].conj().T @ np.sqrt(np.arange(size) + 0.5)
    return eigenvalues[kept], low_rank, math.sqrt(2.0) * low_rank


def blocks_of_legs(size: int, blocks: int, conjugate_pairs: bool) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues `(P,)` and eigenvectors `(N, P)` of HiPPO-LegS, `blocks` systems side by side with N = `size`."""
    each = size // blocks
    eigenvalues, vectors = hippo_legs(each)
    # The first half has the negative imaginary parts.
    kept = each // 2 if conjugate_pairs else each
    return np.tile(eigenvalues[:kept], blocks), np.kron(np.eye(blocks), vectors[:, :kept])


def diagonal_lin(size: int) -> np.ndarray:
    """S4D-Lin: -1/2 + i pi n for n = 0 .. N / 2 - 1, one of each conjugate pair; complex128 `(N / 2,)`."""
    return -0.5 + 1j * np.pi * np.arange(size // 2)


def diagonal_inv(size: int) -> np.ndarray:
    """S4D-Inv: -1/2 + i (N / pi) (N / (2 n + 1) - 1), with N the size, not its half; else as `diagonal_lin`."""
    return -0.5 + 1j * size / np.pi * (size / (2 * np.arange(size // 2) + 1) - 1)


def diagonal_legs(size: int) -> np.ndarray:
    """S4D-LegS: the eigenvalues of `hippo_legs` with positive imaginary parts, ascending; else as `diagonal_lin`."""
    return legs_of_pairs(size)[0]


#: The first eigenvalues of diagonal systems, by name.
DIAGONALS = {"lin": diagonal_lin, "inv": diagonal_inv, "legs": diagonal_legs}


def ring(low: float, high: float) -> Callable:
    """An initializer of nu: the sizes exp(-exp(nu)) of the decays are in a range, uniform by area of the plane."""

    def draw(shape, dtype=None):
        squared = _uniform(shape) * (high**2 - low**2) + low**2
        return ops.cast(ops.log(-0.5 * ops.log(squared)), dtype)

    return draw


def log_of_uniform(high: float) -> Callable:
    """An initializer: logarithms of numbers that are uniform from 0 to `high`."""

    def draw(shape, dtype=None):
        return ops.cast(ops.log(high * _uniform(shape)), dtype)

    return draw


def input_matrix(vectors: np.ndarray) -> Callable:
    """An initializer of the kernel `(D, 2 P)` of [Re B x; Im B x]: B = V* B', B' `(N, D)` of variance 1 / D."""

    def draw(shape, dtype=None):
        drawn = _normal((shape[0], len(vectors)), shape[0] ** -0.5)
        return ops.cast(ops.matmul(drawn, np.concatenate([vectors.real, -vectors.imag], -1).astype("float32")), dtype)

    return draw


def output_matrix(vectors: np.ndarray) -> Callable:
    """An initializer of the kernel `(2 P, D)` of Re C s: C = C' V, both parts of C' `(D, N)` of variance 1 / N."""

    def draw(shape, dtype=None):
        size = len(vectors)
        a, b = (_normal((shape[1], size), size**-0.5) for _ in range(2))
        c, d = vectors.real.astype("float32"), vectors.imag.astype("float32")
        real, imaginary = ops.matmul(a, c) - ops.matmul(b, d), ops.matmul(a, d) + ops.matmul(b, c)
        return ops.cast(ops.transpose(ops.concatenate([real, -imaginary], axis=-1)), dtype)

    return draw


def inverse_softplus_of_steps(low: float, high: float) -> Callable:
    """An initializer of biases whose softplus is uniform in its logarithm, from `low` to `high` and at least 1e-4."""

    def draw(shape, dtype=None):
        drawn = keras.initializers.RandomUniform(math.log(low), math.log(high))(shape, "float32")
        step = ops.maximum(ops.exp(drawn), 1e-4)
        return ops.cast(step + ops.log(-ops.expm1(-step)), dtype)

    return draw


class LogRates(keras.layers.Layer):
    """The logarithms of the rates of a diagonal system, `(D, N)`, at the start log 1 .. log N for each channel.

    A layer of its own, so that its name, `dynamics`, excludes them from weight decay.
    """

    def __init__(self, state_size: int, **kwargs):
        super().__init__(**kwargs)
        self.state_size = state_size

    def build(self, inputs_shape):
        """Create the weight."""
        shape = (inputs_shape[-1], self.state_size)
        self.log_rates = self.add_weight(shape, self._first, name="log_rates", autocast=False)

    def _first(self, shape, dtype=None):
        # Not broadcast: on PyTorch the rows would share their memory.
        return ops.tile(ops.log(ops.arange(1, self.state_size + 1, dtype="float32"))[None], (shape[0], 1))

    def rates(self) -> Tensor:
        """A = -exp(log A), negative, float32."""
        return -ops.exp(ops.cast(self.log_rates, "float32"))


class HeadDynamics(keras.layers.Layer):
    """Steps and decays by head: s = softplus(x + step_bias), decay exp(s A), with A = -exp(log A).

    At the start -A is uniform between two ends, and s, for x = 0, between 0.001 and 0.1, uniform in its logarithm. A
    layer of its own, as `LogRates` is.
    """

    def __init__(self, low: float, high: float, **kwargs):
        super().__init__(**kwargs)
        self.low, self.high = low, high

    def build(self, inputs_shape):
        """Create the weights, `(N,)` for N heads."""
        for name, initializer in (("log_rates", self._rates), ("step_bias", inverse_softplus_of_steps(0.001, 0.1))):
            initializer = random_initializer(initializer)
            setattr(self, name, self.add_weight(inputs_shape[-1:], initializer, name=name, autocast=False))

    def _rates(self, shape, dtype=None):
        return ops.cast(ops.log(self.low + (self.high - self.low) * _uniform(shape)), dtype)

    def steps_and_log_decays(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """s and s A for x `(B, T, N)`, in float32."""
        inputs, log_rates, bias = (ops.cast(x, "float32") for x in (inputs, self.log_rates, self.step_bias))
        steps = ops.softplus(inputs + bias)
        return steps, -ops.exp(log_rates) * steps


def _uniform(shape):
    """Numbers between 0 and 1 that are neither, so that their logarithms are finite."""
    return keras.initializers.RandomUniform(1e-6, 1.0 - 1e-6)(shape, "float32")


def _normal(shape, deviation):
    return keras.initializers.RandomNormal(stddev=deviation)(shape, "float32")
