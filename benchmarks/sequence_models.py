"""The encoder, its variants, LSTM, GRU and a causal convolution, with a head for a data set."""

from collections.abc import Callable
from typing import NamedTuple

import keras
from keras import layers, ops
from sequence_data import Data

from keras_griffin.layers import CGLRU, UNITS
from keras_griffin.layers.base.initialization import without_initialization
from keras_griffin.models import SequenceEncoder
from keras_griffin.models.pooling import Pool

PARAMETERS = 10_000


class Kind(NamedTuple):
    """A model, but for its width."""

    #: Of a width: the layers, which keep one vector for each step.
    layers: Callable[[int], list]
    #: The pools of a row's steps to choose from, if a row has one target.
    pools: tuple[str, ...]
    #: How many neighbouring steps are joined at the input.
    joined: int = 1
    #: Whether a forecast is in units of its row: RevIN (Kim et al. 2022).
    is_reversible: bool = False


class Stack(keras.Model):
    """Layers in a row, a pool and a dense head."""

    def __init__(self, kind: Kind, data: Data, width: int, pool: str | None):
        super().__init__()
        self.joined, self.has_ends, self.is_reversible = kind.joined, data.has_ends, kind.is_reversible
        # Where each step has a forecast, the first half of a row is context alone.
        self.context = data.train.features.shape[1] // (2 if data.is_labelled_by_step else 1)
        self.body = kind.layers(width)
        self.is_bidirectional = any(
            isinstance(layer, layers.Bidirectional) or getattr(layer, "bidirectional", False) for layer in self.body
        )
        self.pooling = None if pool is None else Pool(pool)
        count = data.num_classes or data.train.targets.shape[-1]
        # A step's labels are those of the joined steps.
        self.outputs_of_step = self.joined if pool is None else 1
        self.head = layers.Dense(count * self.outputs_of_step)
        self.build((None, None, data.train.features.shape[-1]))

    def build(self, shape):
        """Build each layer without a symbolic call, which takes longer than all else."""
        shape = (None, None, self.joined * shape[-1])
        for layer in (*self.body, *([] if self.pooling is None else [self.pooling]), self.head):
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
        self.built = True

    def call(self, x, training=False):
        """The head's outputs, of each row or of each step."""
        mask = ops.any(ops.not_equal(x, 0), axis=-1) if self.has_ends else None
        batch, length, features = x.shape
        if self.is_reversible:
            mean = ops.mean(x[:, : self.context], axis=1, keepdims=True)
            deviation = ops.std(x[:, : self.context], axis=1, keepdims=True) + 1e-3
            x = (x - mean) / deviation
        if self.joined > 1:
            x = ops.pad(x, ((0, 0), (0, -length % self.joined), (0, 0)))
            x = ops.reshape(x, (batch, -1, self.joined * features))
            if mask is not None:
                mask = ops.any(ops.not_equal(x, 0), axis=-1)
        for layer in self.body:
            # The ends of rows change nothing before them, unless a layer reads backwards.
            is_marked = self.is_bidirectional and not isinstance(layer, layers.Conv1D)
            x = layer(x, training=training, **({"mask": mask} if is_marked else {}))
        if self.pooling is not None:
            x = self.pooling(x, mask=mask)
        x = self.head(x)
        if self.pooling is None and self.joined > 1:
            x = ops.reshape(x, (batch, -1, x.shape[-1] // self.joined))[:, :length]
        if self.is_reversible:
            x = x * deviation + mean if self.pooling is None else x * deviation[:, 0] + mean[:, 0]
        return x


class NormedCGLRU(CGLRU):
    """A CG-LRU whose output is divided by its root mean square."""

    def scan(self, inputs, state, reset, mask):
        """As in the base class."""
        outputs, state = super().scan(inputs, state, reset, mask)
        return ops.rms_normalization(outputs, epsilon=1e-6), state


UNITS["normed_cg_lru"] = NormedCGLRU


def encoder(blocks: int = 1, **options) -> Callable[[int], list]:
    """A `SequenceEncoder`; options that are functions are of the width. Recurrences are even, as complex units need."""
    options = {"recurrence_width": lambda width: 2 * round(2 * width / 3), **options}

    def layer(width):
        given = {name: value(width) if callable(value) else value for name, value in options.items()}
        return SequenceEncoder(width, blocks, name="encoder", **given)

    return lambda width: [layer(width)]


def both_ways(layer: type) -> Callable[[int], list]:
    """A layer of Keras's in both directions."""
    return lambda width: [layers.Bidirectional(layer(width, return_sequences=True))]


class CausalConv1D(layers.Conv1D):
    """Keras's, as products of shifted inputs: XLA's dilated convolutions in a loop take six times as long on a CPU."""

    def call(self, x):
        """The same outputs, `(B, T, F)`."""
        (taps,), (dilation,), length = self.kernel_size, self.dilation_rate, x.shape[1]
        padded = ops.pad(x, ((0, 0), ((taps - 1) * dilation, 0), (0, 0)))
        shifted = (padded[:, n * dilation : n * dilation + length] for n in range(taps))
        return self.activation(sum(ops.matmul(x, self.kernel[n]) for n, x in enumerate(shifted)) + self.bias)


def convolution(width):
    """Six causal convolutions of three taps, with doubling dilation: a receptive field of 127 steps."""
    return [CausalConv1D(width, 3, padding="causal", dilation_rate=2**n, activation="relu") for n in range(6)]


SEARCHED = ("last", "mean", "mean_max")
MODELS = {
    "encoder": Kind(encoder(2), SEARCHED),
    "encoder of cg_lru": Kind(encoder(2, unit="cg_lru"), SEARCHED),
    "bidirectional encoder": Kind(encoder(2, bidirectional=True), SEARCHED),
    "encoder of joined steps": Kind(encoder(2), SEARCHED, joined=2),
    "lstm": Kind(lambda width: [layers.LSTM(width, return_sequences=True)], SEARCHED),
    "gru": Kind(lambda width: [layers.GRU(width, return_sequences=True)], SEARCHED),
    "bidirectional lstm": Kind(both_ways(layers.LSTM), SEARCHED),
    "convolution": Kind(convolution, SEARCHED),
}

#: What a variant of the encoder changes, by its name after `and`.
CHANGES = {
    **{pool: {"pool": pool} for pool in ("last", "mean", "max")},
    **{f"joined by {steps}": {"joined": steps} for steps in (2, 4)},
    **{f"{number} blocks": {"blocks": number} for number in (1, 3, 4, 6)},
    "no MLP": {"mlp_width": 0},
    "bidirectional": {"bidirectional": True},
    "attention": {"block_pattern": ("recurrent", "local_mqa")},
    "dropout 0.1": {"dropout": 0.1},
    "normed": {"unit": "normed_cg_lru"},
    "RevIN": {"is_reversible": True},
    **{
        f"decays {least} to {most}": {"mixer_options": {"recurrent": {"decay_range": (least, most)}}}
        for least, most in ((0.1, 0.9), (0.5, 0.999), (0.9, 0.999), (0.9, 0.9999))
    },
}


def variant_of(name: str) -> Kind:
    """A variant of the encoder, such as `s5 16 taps and no MLP`, by default with two blocks, MLPs and `"mean_max"`."""
    start, *changes = name.split(" and ")
    unit, taps, _ = start.split()
    options = {"pool": "mean_max", "blocks": 2, "joined": 1, "is_reversible": False}
    options |= {"unit": unit, "conv_kernel_size": int(taps), "mlp_width": None}
    for change in changes:
        options |= CHANGES[change]
    pool, joined, is_reversible = (options.pop(key) for key in ("pool", "joined", "is_reversible"))
    return Kind(encoder(**options), (pool,), joined, is_reversible)


def kind_of(name: str) -> Kind:
    """What a name stands for."""
    return MODELS[name] if name in MODELS else variant_of(name)


def model_of(name: str, data: Data, width: int, pool: str | None) -> Stack:
    """A new model."""
    return Stack(kind_of(name), data, width, pool)


def pools_of(name: str, data: Data) -> tuple:
    """The pools to choose from; none if a model does not apply to the data, or does not differ there from another."""
    kind = kind_of(name)
    if kind.is_reversible and data.num_classes is not None:
        return ()
    if not data.is_labelled_by_step:
        return kind.pools
    looks_ahead = kind.joined > 1 or ("bidirectional" in name and data.num_classes is None)
    return () if looks_ahead else (None,)


def width_of(name: str, data: Data) -> int:
    """The even width at which a model has about `PARAMETERS`, which grow with its square."""
    width = 16
    with without_initialization():
        for _ in range(3):
            count = model_of(name, data, width, pools_of(name, data)[0]).count_params()
            width = max(4, 2 * round(width / 2 * (PARAMETERS / count) ** 0.5))
    return width
