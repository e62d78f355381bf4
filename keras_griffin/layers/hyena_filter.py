"""The implicit filters of Hyena: taps that a small network computes from their distance."""

import math
from collections.abc import Callable, Iterator

import keras
import numpy as np
from keras import ops

from keras_griffin.layers.base.initialization import random_initializer
from keras_griffin.layers.base.weights import Weight
from keras_griffin.shapes import Tensor

#: The network's layers between its first and its last.
INNER_LAYERS = 2
#: In this share of the filter's length the window of the slowest and of the fastest channel falls to 0.01.
SLOWEST, FASTEST = 1.5, 0.3


class HyenaFilter(keras.layers.Layer):
    """L taps of C channels, functions of their distance s = 0 .. L - 1.

        t = s / (L - 1),  z = [t; cos(f_k w t); -sin(f_k w t)],  w = 2 pi (L - 1) / L,  f from 1e-4 to K - 1
        h(t) = W_3 sin(a * (W_2 sin(a * (W_1 sin(a * (W_0 z + b_0)) + b_1)) + b_2)) * exp(-r t)

    r, one for each channel, is not trained: from 3.07 to 15.35, evenly. Everything is in float32.

    Args:
        length: L.
        channels: C.
        width: of the network.
        features: of z, 1 + 2 K.
    """

    def __init__(self, length: int, channels: int, width: int, features: int, **kwargs):
        super().__init__(**kwargs)
        self.length = length
        self.channels = channels
        self.width = width
        self.features = features

    @staticmethod
    def weights_of(channels: int, width: int, features: int) -> dict[str, Weight]:
        """The weights, by path."""
        weights = {name: Weight(shape) for name, shape in _kernels(channels, width, features)}
        biases = {f"bias_{index}": Weight((width,)) for index in range(INNER_LAYERS + 1)}
        return {**weights, **biases, "frequency": Weight((width,))}

    def build(self, inputs_shape=None):
        """Create the weights, uniform up to 1 / sqrt(fan-in) as in PyTorch; the frequencies are ones."""
        sizes = self.channels, self.width, self.features
        fans = {f"{kind}_{name[-1]}": shape[0] for name, shape in _kernels(*sizes) for kind in ("kernel", "bias")}
        for name, weight in self.weights_of(*sizes).items():
            initializer: Callable = keras.initializers.Ones()
            if name in fans:
                limit = fans[name] ** -0.5
                initializer = random_initializer(keras.initializers.RandomUniform(-limit, limit))
            setattr(self, name, self.add_weight(weight.shape, initializer, name=name, autocast=False))

    def taps(self) -> Tensor:
        """h at every distance, `(L, C)` float32."""

        def weight(name: str):
            return ops.cast(getattr(self, name), "float32")

        hidden = ops.convert_to_tensor(positional_features(self.length, self.features))
        for index in range(INNER_LAYERS + 1):
            hidden = ops.matmul(hidden, weight(f"kernel_{index}")) + weight(f"bias_{index}")
            hidden = ops.sin(weight("frequency") * hidden)
        taps = ops.matmul(hidden, weight(f"kernel_{INNER_LAYERS + 1}"))
        return taps * ops.convert_to_tensor(windows(self.length, self.channels))


def positional_features(length: int, features: int) -> np.ndarray:
    """z of every distance, `(L, 1 + 2 K)` float32."""
    bands = (features - 1) // 2
    steps = np.arange(length)[:, None]
    angles = np.linspace(1e-4, bands - 1, bands) * 2.0 * math.pi * steps / length
    return np.concatenate([steps / (length - 1), np.cos(angles), -np.sin(angles)], axis=-1).astype("float32")


def windows(length: int, channels: int) -> np.ndarray:
    """exp(-r t) at every distance, `(L, C)` float32."""
    rates = np.linspace(-math.log(0.01) / SLOWEST, -math.log(0.01) / FASTEST, channels)
    return np.exp(-rates * np.arange(length)[:, None] / (length - 1)).astype("float32")


def _kernels(channels, width, features) -> Iterator[tuple[str, tuple[int, int]]]:
    sizes = (features, *[width] * (INNER_LAYERS + 1), channels)
    for index, shape in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        yield f"kernel_{index}", shape
