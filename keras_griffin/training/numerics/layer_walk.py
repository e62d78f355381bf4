"""Run a language model over a batch, layer by layer, and record the inputs and outputs of each."""

import contextlib
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from keras_griffin import backends
from keras_griffin.layers import ResidualBlock, RMSNorm
from keras_griffin.layers.base.sequence_layer import SequenceLayer
from keras_griffin.layers.base.sublayers import observed, with_parts
from keras_griffin.layers.token_embedding import TokenEmbedding
from keras_griffin.models.documents import PackedRows
from keras_griffin.models.training.shared_model import SharedModel
from keras_griffin.ops.implementation import have_values
from keras_griffin.shapes import Tensor
from keras_griffin.training.numerics.decay_report import DecayReport, decay_sums, report_of


class Passage(NamedTuple):
    """One layer's input and output: the input's largest magnitude, 0 for ids, and how many outputs are not finite."""

    #: The layer's path, `block_3/mixer/rg_lru`.
    layer: str
    largest_input: float
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

    `token_ids`, `segment_ids`: (B, T) integers. The model is a `LanguageModel`, or shares its layers, as `packed()`.
    """
    embedding, blocks, norm = language_model_layers(model)
    tokens, reset, mask = ops.convert_to_tensor(token_ids), None, None
    if segment_ids is not None:
        segments = ops.convert_to_tensor(segment_ids)
        tokens, reset, _ = PackedRows()(tokens, segments)
        # Real tokens come first now, as in `packed()`.
        real = ops.sum(ops.cast(segments > 0, "int32"), axis=1, keepdims=True)
        mask = ops.arange(ops.shape(tokens)[1], dtype="int32") < real
    passages, decays = [], []

    def record(layer, inputs, outputs, reset):
        if have_values((outputs,)):
            passages.append((layer.path, _largest(inputs), _nonfinite(outputs)))

    def record_decays(layer, inputs, outputs, reset):
        record(layer, inputs, outputs, reset)
        if isinstance(layer, SequenceLayer) and have_values((inputs,)):
            if (found := layer.decays_of(inputs)) is not None:
                decays.append((layer.path, decay_sums(found, reset, mask, threshold)))

    observing = observed(with_parts((embedding, *blocks, norm)), call=record, advance=record_decays)
    # While `keras.remat` runs a block, its tensors have no values. NumPy would warn of the very values sought here.
    with backends.active().without_gradients(), observing, _without_remat(blocks), np.errstate(all="ignore"):
        x = embedding(tokens)
        for block in blocks:
            x = block(x, reset=reset)
        # Only the logits of one step: those of all might not fit into memory, and the norm's output is recorded anyway.
        embedding(norm(x)[:, -1:], reverse=True)
        # One layer at a time, after all have run: reading waits for the device.
        return LayerWalk(
            [Passage(path, float(_numpy(most)), int(_numpy(bad))) for path, most, bad in passages],
            [report_of(path, [_numpy(tensor) for tensor in sums]) for path, sums in decays],
        )


def language_model_layers(model: keras.Model) -> tuple[TokenEmbedding, list[ResidualBlock], RMSNorm]:
    """The embedding, the blocks and the last norm of a model; see `walk_layers`."""
    layers = (model.language_model if isinstance(model, SharedModel) else model).layers
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


@contextlib.contextmanager
def _without_remat(blocks):
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
