"""Compile what generation runs again and again, on JAX."""

import functools
import weakref

import jax
import keras


def compile_for_model(function, model):
    """`function(model, state, ...)` without its first argument, compiled for each shape it meets.

    The weights are arguments of the compiled function, read at every call; as constants they would be frozen into it.
    The state's buffers are given to the result, so a state is passed once. The model is held weakly.
    """
    reference = weakref.ref(model)

    @functools.partial(jax.jit, donate_argnames="state")
    def compiled(values, state, *arguments):
        model = reference()
        with keras.StatelessScope(zip(model.variables, values, strict=True)):
            return function(model, state, *arguments)

    def run(state, *arguments):
        return compiled([variable.value for variable in reference().variables], state, *arguments)

    return run
