"""Compile what generation runs again and again, on JAX."""

import functools
import threading
import weakref
from collections.abc import Callable

import jax
import keras


def compile_for_model(function, model):
    """`function(model, state, ...)` without its first argument, compiled for each shape it meets.

    The weights are arguments of the compiled function, read at every call; as constants they would be frozen into it.
    The state's buffers are given to the result, so a state is passed once. The model is held weakly.
    """
    reference: Callable[[], keras.Model] = weakref.ref(model)

    @functools.partial(jax.jit, donate_argnames="state", compiler_options=_options(model))
    def compiled(values, state, *arguments):
        model = reference()
        with keras.StatelessScope(zip(model.variables, values, strict=True)):
            return function(model, state, *arguments)

    # Threads that meet a shape together would each compile it.
    known, compiling = set(), threading.RLock()

    def run(state, *arguments):
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
    """What XLA is told.

    On a CPU it works in float32 where it has no bfloat16, as for a lookup in the embedding, and would make float32
    copies of such weights, once, before a loop: they would take three times the model's memory.
    """
    if jax.default_backend() == "cpu" and any(variable.dtype == "bfloat16" for variable in model.variables):
        return {"xla_disable_hlo_passes": "while-loop-invariant-code-motion"}
    return {}
