"""The sublayers of layers, and a way to observe calls of their methods."""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterable, Iterator

import keras

#: Held by the observer, because threads share layers.
_observing = threading.Lock()


@contextlib.contextmanager
def observed(layers: Iterable[keras.Layer], **observers: Callable) -> Iterator[None]:
    """Inside the `with` block, observe calls of methods of layers, in this thread only; a second observer waits.

    Args:
        layers: the layers; one without a method is left alone.
        **observers: by the method's name, a function that is called after it as `observer(layer, inputs, outputs,
            reset)`; of several outputs, with the first.
    """
    layers, thread = list(layers), threading.get_ident()

    def observed_method(layer, method, observer):
        @functools.wraps(method)
        def call(inputs, *arguments, **options):
            outputs = method(inputs, *arguments, **options)
            if threading.get_ident() == thread:
                first = outputs[0] if isinstance(outputs, (tuple, list)) else outputs
                observer(layer, inputs, first, options.get("reset"))
            return outputs

        return call

    with _observing:
        try:
            for layer in layers:
                for name, observer in observers.items():
                    if hasattr(layer, name):
                        # Written to the instance's dictionary directly, because Keras would track an attribute.
                        layer.__dict__[name] = observed_method(layer, getattr(layer, name), observer)
            yield
        finally:
            for layer in layers:
                for name in observers:
                    layer.__dict__.pop(name, None)


def with_parts(layers: Iterable[keras.Layer]) -> list[keras.Layer]:
    """Layers and their parts, recursively, each once.

    Examples:
        >>> import keras_griffin
        >>> from keras_griffin.layers.base.sublayers import with_parts
        >>> mlp = keras_griffin.layers.GatedMLP(hidden_width=24, name="mlp")
        >>> mlp.build((None, 8))
        >>> [layer.path for layer in with_parts([mlp])]
        ['mlp', 'mlp/gate', 'mlp/up', 'mlp/down']
    """
    found = {}
    for layer in layers:
        # A copy: another thread may be observing the layer.
        values = list(vars(layer).values())
        parts = [value for value in values if isinstance(value, keras.Layer)]
        parts += [each for value in values if isinstance(value, (list, tuple)) for each in value]
        parts = [part for part in parts if isinstance(part, keras.Layer)]
        found.update({id(part): part for part in (layer, *with_parts(parts))})
    return list(found.values())
