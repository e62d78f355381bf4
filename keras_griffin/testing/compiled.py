"""Functions that a test runs often, made fast."""

from collections.abc import Callable

from keras_griffin import backends


def compiled(function: Callable) -> Callable:
    """The function, compiled for each shape that it meets on JAX, where it stands; elsewhere as it is.

    Outside of compiled functions JAX compiles every operation of every new shape by itself, a hundred times as many
    programs.

    Args:
        function: takes and gives trees of tensors; what it reads besides stays as it was at the first call.
    """
    return backends.active().compiled(function)
