"""Initial values of RWKV-4: of its vectors, which depend on the channel and on the layer, and of its kernels.

With l the layer of n, r01 = l / (n - 1), or 1/2 for a single layer, r10 = 1 - l / n, and c = channel / D.

Reference: the authors' code for RWKV-4 (Peng et al. 2023, arXiv 2305.13048, appendix on initial values).
"""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops


def place_of(config: Any, index: int) -> dict[str, int]:
    """The index of residual block `index` among the layers of its kind, and their number, as arguments of a mixer."""
    names = config.mixer_names
    return {"layer": names[:index].count(names[index]), "num_layers": names.count(names[index])}


def mix_of_channels(name: str, layer: int, num_layers: int, width: int) -> np.ndarray:
    """mu of layer l of n, the share of the current input: c^r10; for values 0.3 r01 more, for receptances its root."""
    low, high = _ratios(layer, num_layers)
    channels = np.arange(width) / width
    shares = {"key": channels**high, "value": channels**high + 0.3 * low, "receptance": channels ** (0.5 * high)}
    return shares[name]


def decay_of_channels(layer: int, num_layers: int, width: int) -> np.ndarray:
    """The logarithm of w: -5 + 8 (channel / (D - 1))^(0.7 + 1.3 r01)."""
    low, _ = _ratios(layer, num_layers)
    return -5.0 + 8.0 * (np.arange(width) / max(width - 1, 1)) ** (0.7 + 1.3 * low)


def first_of_channels(width: int) -> np.ndarray:
    """u: log 0.3, and half of -1, 0 or 1 in turn."""
    return math.log(0.3) + 0.5 * ((np.arange(width) + 1) % 3 - 1.0)


def orthogonal(gain: float = 1.0) -> Callable:
    """An initializer of kernels with orthogonal rows or columns, drawn in float32 whatever their dtype."""
    draw = keras.initializers.Orthogonal(gain)
    # JAX factorises no bfloat16.
    return lambda shape, dtype=None: ops.cast(draw(shape, "float32"), dtype)


def _ratios(layer, num_layers):
    return layer / (num_layers - 1) if num_layers > 1 else 0.5, 1.0 - layer / num_layers
