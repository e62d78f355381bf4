"""The layers that layers consist of."""

from collections.abc import Iterable

import keras


def with_parts(layers: Iterable[keras.Layer]) -> list[keras.Layer]:
    """Layers with their parts, and the parts of those, each once.

    Args:
        layers: what is looked through.

    Examples:
        >>> import keras_griffin
        >>> from keras_griffin.layers.parts import with_parts
        >>> mlp = keras_griffin.layers.GatedMLP(hidden_width=24, name="mlp")
        >>> mlp.build((None, 8))
        >>> [layer.path for layer in with_parts([mlp])]
        ['mlp', 'mlp/gate', 'mlp/up', 'mlp/down']
    """
    found = {}
    for layer in layers:
        parts = [value for value in vars(layer).values() if isinstance(value, keras.Layer)]
        parts += [each for value in vars(layer).values() if isinstance(value, (list, tuple)) for each in value]
        parts = [part for part in parts if isinstance(part, keras.Layer)]
        found.update({id(part): part for part in (layer, *with_parts(parts))})
    return list(found.values())
