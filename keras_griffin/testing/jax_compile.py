"""Compiled functions on JAX."""

import jax


def compiled(function):
    """The function, compiled for each shape that it meets."""
    return jax.jit(lambda *arguments, **named: function(*arguments, **named))
