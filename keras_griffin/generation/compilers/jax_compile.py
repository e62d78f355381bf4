"""Compile the functions of the generation loop, on JAX."""

import functools
import threading
import weakref
from collections.abc import Callable

import jax
import keras

from keras_griffin.backends.jax_backend import device_kind


def compile_for_model(function, model, donates=True):
    """`function(model, state, ...)` as one of `(state, ...)`, compiled for each input shape; holds the model weakly."""
    reference: Callable[[], keras.Model] = weakref.ref(model)

    @functools.partial(jax.jit, donate_argnames="state" if donates else None, compiler_options=_options(model))
    def compiled(values, state, *arguments):
        model = reference()
        with keras.StatelessScope(zip(model.variables, values, strict=True)):
            return function(model, state, *arguments)

    # Without the lock, threads that meet a shape at the same time would each compile it.
    known, compiling = set(), threading.RLock()

    def run(state, *arguments):
        # Arguments, because constants would be frozen into the compiled function.
        values = [variable.value for variable in reference().variables]
        shapes = tuple([(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves((state, arguments))])
        if shapes not in known:
            with compiling:
                if shapes not in known:
                    compiled.lower(values, state, *arguments).compile()
                    known.add(shapes)
        return compiled(values, state, *arguments)

    return run


def _options(model) -> dict[str, str]:
    """The options for XLA."""
    # On a CPU, XLA computes in float32 where it lacks bfloat16 kernels, as for a lookup in the embedding, and would
    # hoist float32 copies of such weights out of a loop, for three times the model's memory.
    if device_kind() == "cpu" and any(variable.dtype == "bfloat16" for variable in model.variables):
        return {"xla_disable_hlo_passes": "while-loop-invariant-code-motion"}
    return {}
