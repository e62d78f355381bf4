"""Compile functions that tests run often."""

from collections.abc import Callable

from keras_griffin import backends


def compiled(function: Callable) -> Callable:
    """The function, compiled for each input shape on JAX; unchanged on other backends.

    Outside compiled functions JAX compiles every operation separately for every new shape, a hundred times as many
    programs.

    Args:
        function: takes and returns trees of tensors; any other values that it reads are fixed at the first call.
    """
    return backends.active().compiled(function)
