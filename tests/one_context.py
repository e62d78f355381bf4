"""Let JAX lower all programs of a thread in one context of MLIR.

It makes one for each program otherwise, and a context loads every dialect: a quarter of the time of tests that make
thousands of programs.
"""

import functools
import threading

from jax._src.interpreters import mlir


class OneForEachThread(threading.local):
    """Called in place of a function, whose first value in each thread it gives ever after."""

    def __init__(self, function):
        self.value = functools.cache(function)

    def __call__(self):
        return self.value()


if hasattr(mlir, "make_ir_context"):
    mlir.make_ir_context = OneForEachThread(mlir.make_ir_context)
