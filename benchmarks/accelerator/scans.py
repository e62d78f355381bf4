"""The four scans, on arguments that are made on the device."""

from collections.abc import Callable
from typing import NamedTuple

from timing import compiled, forward_and_backward

from benchmarks.accelerator.hardware import random_tensor
from keras_griffin.ops import linear_scan, log_scan, rg_lru, selective_scan
from keras_griffin.ops.implementation import find_op

#: N of `selective_scan`, as in Mamba.
NUMBERS = 16


class Scan(NamedTuple):
    """An op, and how to make its tensors."""

    op: Callable
    #: Of (shape, dtype): the tensors of a call without an initial state.
    arguments: Callable

    @property
    def name(self) -> str:
        """The op's name."""
        return self.op.__name__

    @property
    def moved(self) -> tuple[int, int]:
        """How many arrays like the inputs a call moves, forward and with its gradient."""
        return find_op(self.name).cases.CASES[0].moved

    def states(self, *tensors, **marks):
        """The op's first result."""
        return self.op(*tensors, **marks)[0]

    def both(self, **marks):
        """A compiled function of (gradient, *tensors): the first result, and the gradients of all tensors."""
        return compiled(forward_and_backward(lambda *tensors: self.states(*tensors, **marks)))


def of_linear_scan(shape, dtype):
    """Decay and inputs."""
    return random_tensor(shape, dtype, 0.9, 0.999), random_tensor(shape, dtype)


def of_log_scan(shape, dtype):
    """The logarithm of the decay, and inputs."""
    return random_tensor(shape, dtype, -0.1, -0.001), random_tensor(shape, dtype)


def of_rg_lru(shape, dtype):
    """Inputs, the logits of both gates, and Lambda."""
    return *(random_tensor(shape, dtype) for _ in range(3)), random_tensor(shape[2:], "float32", 2.0, 6.0)


def of_selective_scan(shape, dtype):
    """u, s, A, b and c."""
    steps = (*shape[:2], NUMBERS)
    rates = random_tensor((shape[2], NUMBERS), "float32", -2.0, -0.1)
    sequences = random_tensor(shape, dtype), random_tensor(shape, dtype, 0.05, 0.5)
    return *sequences, rates, random_tensor(steps, dtype), random_tensor(steps, dtype)


SCANS = (
    Scan(linear_scan, of_linear_scan),
    Scan(rg_lru, of_rg_lru),
    Scan(log_scan, of_log_scan),
    Scan(selective_scan, of_selective_scan),
)
