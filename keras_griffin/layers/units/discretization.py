"""The samples of a continuous diagonal system: its decays and what they multiply the inputs by."""

from collections.abc import Callable

from keras import ops

from keras_griffin.ops.recurrence.numbers import Components, multiply
from keras_griffin.shapes import Tensor


def zoh(rate: Components, step: Tensor) -> tuple[Components, Components]:
    """Zero-order hold, inputs constant over a step: a = exp(lambda d), b = (a - 1) / lambda, for Re lambda < 0."""
    size, phase = rate[0] * step, rate[1] * step
    # exp(lambda d) - 1 without cancellation where d is small.
    less_one = ops.expm1(size) * ops.cos(phase) - 2.0 * ops.sin(0.5 * phase) ** 2, ops.exp(size) * ops.sin(phase)
    return (less_one[0] + 1.0, less_one[1]), multiply(less_one, _reciprocal(rate))


def bilinear(rate: Components, step: Tensor) -> tuple[Components, Components]:
    """The trapezoidal rule: a = (1 + lambda d / 2) / (1 - lambda d / 2), b = d / (1 - lambda d / 2)."""
    half = 0.5 * rate[0] * step, 0.5 * rate[1] * step
    divisor = _reciprocal((1.0 - half[0], -half[1]))
    return multiply((1.0 + half[0], half[1]), divisor), (step * divisor[0], step * divisor[1])


def dirac(rate: Components, step: Tensor) -> tuple[Components, Components]:
    """Inputs as impulses: a = exp(lambda d), b = 1."""
    decay, _ = zoh(rate, step)
    return decay, (ops.ones_like(step), ops.zeros_like(step))


def _reciprocal(number):
    square = number[0] ** 2 + number[1] ** 2
    return number[0] / square, -number[1] / square


DISCRETIZATIONS: dict[str, Callable] = {"zoh": zoh, "bilinear": bilinear, "dirac": dirac}
"""By name."""
