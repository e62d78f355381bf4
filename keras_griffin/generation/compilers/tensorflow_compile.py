"""Compile the functions of the generation loop, on TensorFlow."""

import inspect
import threading
import weakref

import tensorflow as tf

from keras_griffin.backends.tensorflow_backend import device_kind


def compile_for_model(function, model):
    """`function(model, state, ...)` as one of `(state, ...)`, compiled for each input shape; holds the model weakly."""
    reference = weakref.ref(model)
    by_shapes, tracing = {}, threading.RLock()

    @tf.function(jit_compile=_pays_with_xla(model))
    def compiled(*arguments):
        return function(_Unconverted(reference()), *arguments)

    def run(*arguments):
        arguments = tf.nest.map_structure(tf.convert_to_tensor, arguments)
        # Looked up by shapes here, because TensorFlow warns of a function that is called with many shapes.
        shapes = tuple(tuple(leaf.shape) for leaf in tf.nest.flatten(arguments))
        if shapes not in by_shapes:
            with tracing:
                if shapes not in by_shapes:
                    by_shapes[shapes] = compiled.get_concrete_function(*arguments)
        return by_shapes[shapes](*arguments)

    return run


class _Unconverted:
    """A model whose methods AutoGraph does not convert; a user's sampler, which may call `len(logits)`, still is."""

    def __init__(self, model):
        self._model = model

    def __getattr__(self, name):
        value = getattr(self._model, name)
        return tf.autograph.experimental.do_not_convert(value) if inspect.ismethod(value) else value


def _pays_with_xla(model) -> bool:
    """Whether XLA compiles it; otherwise it runs as a graph."""
    # As on JAX, XLA would hoist float32 copies of bfloat16 weights out of a loop on a CPU.
    return device_kind() != "cpu" or not any(variable.dtype == "bfloat16" for variable in model.variables)
