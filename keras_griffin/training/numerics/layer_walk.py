"""Run a language model over a batch, layer by layer, and record the inputs and outputs of each."""

import contextlib
import functools
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from keras_griffin import backends
from keras_griffin.layers import ResidualBlock, RMSNorm
from keras_griffin.layers.parts import watched, with_parts
from keras_griffin.layers.sequence_layer import SequenceLayer
from keras_griffin.layers.token_embedding import TokenEmbedding
from keras_griffin.models.documents import PackedRows
from keras_griffin.ops.implementation import have_values
from keras_griffin.shapes import Tensor
from keras_griffin.training.numerics.decay_report import DecayReport, decay_sums, report_of


class Passage(NamedTuple):
    """A record of one layer's input and output."""

    #: The layer's path, `block_3/mixer/rg_lru`.
    layer: str
    #: The largest magnitude of the input; 0 for token ids.
    largest_input: float
    #: How many values of the output are not finite.
    nonfinite: int


class LayerWalk(NamedTuple):
    """The records of a batch's pass through a model."""

    #: In the order in which the layers finished: a layer before the one that contains it.
    passages: list[Passage]
    #: Of the recurrences, from the first block to the last.
    decays: list[DecayReport]

    @property
    def first_nonfinite(self) -> Passage | None:
        """The first layer with an output that is not finite."""
        return next((passage for passage in self.passages if passage.nonfinite), None)


def walk_layers(model: keras.Model, token_ids, segment_ids=None, threshold: float = 0.999) -> LayerWalk:
    """Run a batch from the initial state, without gradients, outside of any compiled function.

    Args:
        model: a `LanguageModel`, or a model that shares its layers: `packed()`, `carried()`.
        token_ids: `(B, T)` integers.
        segment_ids: `(B, T)` integers, 0 for padding, or None without padding and packing.
        threshold: the decay above which `DecayReport` counts a step as slow.

    Returns:
        The record of each layer, and the decays of each recurrence.

    Raises:
        ValueError: the model lacks the layers of a language model.

    Examples:
        >>> import numpy as np
        >>> from keras_griffin.models import Griffin, GriffinConfig
        >>> from keras_griffin.training.numerics.layer_walk import walk_layers
        >>> model = Griffin(GriffinConfig(vocabulary_size=256, width=32, num_layers=3, num_heads=2, window=8))
        >>> walk = walk_layers(model, np.array([[1, 2, 3]]))
        >>> walk.first_nonfinite is None, [report.layer for report in walk.decays]
        (True, ['block_0/mixer/rg_lru', 'block_1/mixer/rg_lru'])
    """
    embedding, blocks, norm = language_model_layers(model)
    tokens, reset, mask = ops.convert_to_tensor(token_ids), None, None
    if segment_ids is not None:
        segments = ops.convert_to_tensor(segment_ids)
        tokens, reset, _ = PackedRows()(tokens, segments)
        # Real tokens come first now, as in `packed()`.
        real = ops.sum(ops.cast(segments > 0, "int32"), axis=1, keepdims=True)
        mask = ops.arange(ops.shape(tokens)[1], dtype="int32") < real
    notes, parts = _Recorder(mask, threshold), with_parts((embedding, *blocks, norm))
    # While `keras.remat` runs a block, its tensors have no values. NumPy would warn of the very values sought here.
    watch = watched(parts, call=notes.noting, advance=notes.noting_decays)
    with backends.active().without_gradients(), watch, _as_they_stand(blocks), np.errstate(all="ignore"):
        x = embedding(tokens)
        for block in blocks:
            x = block(x, reset=reset)
        # Only the logits of one step: those of all might not fit into memory, and the norm's output is recorded anyway.
        embedding(norm(x)[:, -1:], reverse=True)
        return notes.result()


def language_model_layers(model: keras.Model) -> tuple[TokenEmbedding, list[ResidualBlock], RMSNorm]:
    """The embedding, the blocks and the last norm of a model; see `walk_layers`."""
    layers = getattr(model, "language_model", model).layers
    kinds = [
        [layer for layer in layers if isinstance(layer, kind)] for kind in (TokenEmbedding, ResidualBlock, RMSNorm)
    ]
    if not all(kinds):
        raise ValueError(
            "walk_layers: the model must have an embedding, residual blocks and a norm of this package. "
            f"Got {', '.join(sorted({type(layer).__name__ for layer in layers})) or 'no layers'}."
        )
    (embedding, *_), blocks, (*_, norm) = kinds
    return embedding, blocks, norm


class _Recorder:
    """Wraps the forward methods of layers inside `watched`, and collects their records."""

    def __init__(self, mask, threshold: float):
        self._mask = mask
        self._threshold = threshold
        self._passages: list[tuple] = []
        self._decays: list[tuple] = []

    def result(self) -> LayerWalk:
        """The collected records, read from the device."""
        passages = [Passage(path, float(_numpy(most)), int(_numpy(bad))) for path, most, bad in self._passages]
        decays = [report_of(path, [_numpy(tensor) for tensor in sums]) for path, sums in self._decays]
        return LayerWalk(passages, decays)

    def noting(self, layer, method):
        """Wrap a method to record its input and output."""

        @functools.wraps(method)
        def call(inputs, *arguments, **options):
            outputs = method(inputs, *arguments, **options)
            first = outputs[0] if isinstance(outputs, (tuple, list)) else outputs
            if have_values((first,)):
                self._passages.append((layer.path, _largest(inputs), _nonfinite(first)))
            return outputs

        return call

    def noting_decays(self, layer, method):
        """Wrap a method `advance` to record its input and output, and the decays if the layer has any."""
        method = self.noting(layer, method)
        if not isinstance(layer, SequenceLayer):
            return method

        @functools.wraps(method)
        def advance(inputs, state, *, reset=None, mask=None):
            if have_values((inputs,)) and (decays := layer.decays_of(inputs)) is not None:
                self._decays.append((layer.path, decay_sums(decays, reset, self._mask, self._threshold)))
            return method(inputs, state, reset=reset, mask=mask)

        return advance


@contextlib.contextmanager
def _as_they_stand(blocks):
    """Inside the `with` block, no block is rematerialised."""
    before = [block.rematerialize for block in blocks]
    for block in blocks:
        block.rematerialize = False
    try:
        yield
    finally:
        for block, rematerialize in zip(blocks, before, strict=True):
            block.rematerialize = rematerialize


def _largest(x: Tensor) -> Tensor:
    if "float" not in keras.backend.standardize_dtype(x.dtype):
        return 0.0
    return ops.max(ops.abs(ops.cast(x, "float32")))


def _nonfinite(x: Tensor) -> Tensor:
    return ops.sum(ops.cast(ops.logical_not(ops.isfinite(x)), "int32"))


def _numpy(x) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(x))
