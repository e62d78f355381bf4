"""Compile what generation runs again and again, on JAX."""

import functools
import weakref

import jax
import keras


def compile_sampler(sampler):
    """The sampler as one compiled function."""
    return jax.jit(sampler)


def compile_advance(function, model):
    """`function(model, token_ids, mask, state)` without its first argument, compiled for each shape it meets.

    The weights are arguments of the compiled function, read at every call; as constants they would be frozen into it.
    The state's buffers are given to the result, so a state is passed once. The model is held weakly.
    """
    reference = weakref.ref(model)

    @functools.partial(jax.jit, donate_argnames="state")
    def compiled(values, token_ids, mask, state):
        model = reference()
        with keras.StatelessScope(zip(model.variables, values, strict=True)):
            return function(model, token_ids, mask, state)

    def advance(token_ids, mask, state):
        return compiled([variable.value for variable in reference().variables], token_ids, mask, state)

    return advance
