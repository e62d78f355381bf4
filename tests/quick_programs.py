"""Do without what a backend spends on each program that tests don't need: they look at values, and make thousands.

Notebooks, commands and most other processes that tests start make programs as users do.
"""

import functools
import threading


class OneForEachThread(threading.local):
    """Called in place of a function, whose first value in each thread it gives ever after."""

    def __init__(self, function):
        self.value = functools.cache(function)

    def __call__(self):
        return self.value()


def quick_jax():
    """A context of MLIR loads every dialect; one serves all programs, of which each has its own otherwise."""
    from jax._src.interpreters import mlir

    mlir.make_ir_context = OneForEachThread(mlir.make_ir_context)


def quick_tensorflow():
    """Graphs run as they were traced."""
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


def make_programs_quickly(backend: str):
    """For the rest of this process, whose backend it is."""
    if backend == "jax":
        quick_jax()
    elif backend == "tensorflow":
        quick_tensorflow()
