"""The kinds of norms that a model's parts may have."""

from typing import Any

import keras

from keras_griffin.checks import one_of
from keras_griffin.layers.base.weights import Weight
from keras_griffin.layers.rms_norm import RMSNorm

#: The names of each kind's weights, `(D,)`.
NORMS = {"rms": ("scale",), "layer": ("gamma", "beta")}
#: The rule for a kind.
NORM = one_of(NORMS)


def normalization(kind: str, epsilon: float, **kwargs: Any) -> keras.layers.Layer:
    """A norm: `RMSNorm` for `"rms"`, `keras.layers.LayerNormalization` for `"layer"`, computed in float32."""
    if kind == "rms":
        return RMSNorm(epsilon, **kwargs)
    return keras.layers.LayerNormalization(epsilon=epsilon, **kwargs)


def norm_weights(path: str, kind: str, width: int) -> dict[str, Weight]:
    """The weights of such a norm of D channels, by path."""
    return {f"{path}/{name}": Weight((width,)) for name in NORMS[kind]}
