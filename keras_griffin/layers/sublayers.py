"""The sublayers of layers, and a way to watch calls of their methods."""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterable, Iterator

import keras

#: Held by the watcher, because threads share layers.
_watching = threading.Lock()


@contextlib.contextmanager
def watched(layers: Iterable[keras.Layer], **around: Callable[[keras.Layer, Callable], Callable]) -> Iterator[None]:
    """Inside the `with` block methods of layers are replaced, for this thread only; a second watcher waits.

    Args:
        layers: the layers; those without such a method are left alone.
        **around: by the method's name, a function of a layer and its method that returns the replacement.
    """
    layers, thread = list(layers), threading.get_ident()

    def replacement(layer, name):
        method = getattr(layer, name)
        ours = around[name](layer, method)

        @functools.wraps(method)
        def call(*arguments, **options):
            return (ours if threading.get_ident() == thread else method)(*arguments, **options)

        return call

    with _watching:
        try:
            for layer in layers:
                for name in around:
                    if hasattr(layer, name):
                        # Written to the instance's dictionary directly, because Keras would track an attribute.
                        layer.__dict__[name] = replacement(layer, name)
            yield
        finally:
            for layer in layers:
                for name in around:
                    layer.__dict__.pop(name, None)


def with_parts(layers: Iterable[keras.Layer]) -> list[keras.Layer]:
    """Layers and their parts, recursively, each once.

    Args:
        layers: where to start.

    Examples:
        >>> import keras_griffin
        >>> from keras_griffin.layers.sublayers import with_parts
        >>> mlp = keras_griffin.layers.GatedMLP(hidden_width=24, name="mlp")
        >>> mlp.build((None, 8))
        >>> [layer.path for layer in with_parts([mlp])]
        ['mlp', 'mlp/gate', 'mlp/up', 'mlp/down']
    """
    found = {}
    for layer in layers:
        # A copy: another thread may be watching the layer.
        values = list(vars(layer).values())
        parts = [value for value in values if isinstance(value, keras.Layer)]
        parts += [each for value in values if isinstance(value, (list, tuple)) for each in value]
        parts = [part for part in parts if isinstance(part, keras.Layer)]
        found.update({id(part): part for part in (layer, *with_parts(parts))})
    return list(found.values())
