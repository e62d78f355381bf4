"""A language model over packed rows."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_griffin.models.documents import PackedRows
from keras_griffin.models.training.chunked_loss import ChunkedLoss
from keras_griffin.models.training.compile_config import CompiledAgain
from keras_griffin.models.training.first_batch import FirstBatch

_NAMES = ("token_ids", "segment_ids")


@keras.saving.register_keras_serializable("keras_griffin")
class PackedModel(FirstBatch, CompiledAgain, keras.Model):
    """The functional model that `LanguageModel.packed` describes, with checks of its data."""

    batch_names = _NAMES
    #: Returns the language model; None if the model is loaded from a file, which has only the layers.
    language_model_of: Callable[[], keras.Model] | None = None

    def known_language_model(self) -> keras.Model | None:
        """See `FirstBatch`."""
        return None if self.language_model_of is None else self.language_model_of()


def packed_model(language_model) -> PackedModel:
    """The functional model that `LanguageModel.packed` describes, not yet compiled."""
    inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in _NAMES}
    vectors = _vectors(language_model, PackedRows(name="packed_rows"), **inputs)
    logits = language_model.token_embedding(vectors, reverse=True)
    packed = PackedModel(inputs, logits, name=f"{language_model.name}_packed")
    # A function, since Keras would treat a model as a layer of this one and save it twice.
    packed.language_model_of = lambda: language_model
    return packed


@keras.saving.register_keras_serializable("keras_griffin")
class PackedWithoutLogits(ChunkedLoss):
    """The same over packed rows, without logits; see `LanguageModel.packed`."""

    batch_names = _NAMES

    def __init__(self, language_model: keras.Model, **kwargs: Any):
        super().__init__(language_model, **kwargs)
        self._rows = PackedRows(name="packed_rows")
        self._rows.built = True

    def call(self, inputs):
        """The vectors `(B, T, D)` of `{"token_ids": (B, T), "segment_ids": (B, T)}`."""
        return _vectors(self.language_model, self._rows, inputs["token_ids"], inputs["segment_ids"])


def _vectors(language_model, rows, token_ids, segment_ids):
    """The head's inputs, `(B, T, D)`."""
    tokens, reset, places = rows(token_ids, segment_ids)
    x = language_model.token_embedding(tokens)
    for block in language_model.blocks:
        x = block(x, reset=reset)
    return ops.take_along_axis(language_model.final_norm(x), ops.expand_dims(places, -1), axis=1)
