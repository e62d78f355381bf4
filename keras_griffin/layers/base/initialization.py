"""Skip drawing random weights that are about to be overwritten."""

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

#: The kernels of `torch.nn.Linear`: uniform, with a variance of this over the fan-in.
UNIFORM = 1.0 / 3.0
#: A context variable: each thread, and each asynchronous task, has its own.
_IS_LEFT_OUT = contextvars.ContextVar("keras_griffin_initialization_is_left_out", default=False)


@contextlib.contextmanager
def without_initialization() -> Iterator[None]:
    """Inside the `with` block, layers of this package are built with zeros in place of random weights.

    For weights that are then read from a file: drawing a large model's weights takes longer than reading them.
    """
    token = _IS_LEFT_OUT.set(True)
    try:
        yield
    finally:
        _IS_LEFT_OUT.reset(token)


def given(values: np.ndarray) -> Callable:
    """An initializer with given values, or zeros inside `without_initialization`."""
    return random_initializer(lambda shape, dtype=None: ops.convert_to_tensor(values, dtype))


def random_initializer(initializer: Callable) -> Callable:
    """The initializer, or zeros inside `without_initialization`. Every random weight of this package uses it."""
    return keras.initializers.Zeros() if _IS_LEFT_OUT.get() else initializer


def seeded_when_called(kind: type, *arguments: Any, **options: Any) -> Callable:
    """An initializer of Keras's whose seed is drawn with its numbers, so that seeds are in the order of the weights."""
    return lambda shape, dtype=None: kind(*arguments, **options)(shape, dtype)


def scaled(variance: float, distribution: str = "untruncated_normal") -> Callable:
    """An initializer of kernels with variance `variance / fan_in`."""
    return seeded_when_called(keras.initializers.VarianceScaling, variance, "fan_in", distribution)
