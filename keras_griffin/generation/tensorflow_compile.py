"""Compile what generation runs again and again, on TensorFlow."""

import weakref

import tensorflow as tf


def compile_sampler(sampler):
    """The sampler as one compiled function."""
    return tf.function(sampler, jit_compile=True)


def compile_advance(function, model):
    """`function(model, token_ids, mask, state)` without its first argument, compiled for each shape it meets.

    The graph reads the weights' variables at every call. The model is held weakly.
    """
    reference = weakref.ref(model)

    @tf.function(jit_compile=True)
    def advance(token_ids, mask, state):
        return function(reference(), token_ids, mask, state)

    return advance
