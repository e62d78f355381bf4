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

    After a method `name`, `observers[name](layer, inputs, outputs, reset)` is called, with the first of its outputs.
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
    """Layers and their parts, recursively, each once."""
    found = {}
    for layer in layers:
        # A copy: another thread may be observing the layer.
        values = list(vars(layer).values())
        values += [each for value in values if isinstance(value, (list, tuple)) for each in value]
        parts = [value for value in values if isinstance(value, keras.Layer)]
        found.update({id(part): part for part in (layer, *with_parts(parts))})
    return list(found.values())
