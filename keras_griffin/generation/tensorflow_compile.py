"""Compile what generation runs again and again, on TensorFlow."""

import weakref

import tensorflow as tf


def compile_for_model(function, model):
    """`function(model, state, ...)` without its first argument, compiled for each shape it meets.

    The graph reads the weights' variables at every call. The model is held weakly.
    """
    reference = weakref.ref(model)
    by_shapes = {}

    @tf.function(jit_compile=True)
    def compiled(*arguments):
        return function(reference(), *arguments)

    def run(*arguments):
        arguments = tf.nest.map_structure(tf.convert_to_tensor, arguments)
        # Asked for by its shapes, because TensorFlow warns of a function that is called with many.
        shapes = tuple(tuple(leaf.shape) for leaf in tf.nest.flatten(arguments))
        if shapes not in by_shapes:
            by_shapes[shapes] = compiled.get_concrete_function(*arguments)
        return by_shapes[shapes](*arguments)

    return run
