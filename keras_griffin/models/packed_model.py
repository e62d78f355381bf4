"""A language model over packed rows."""

import keras
from keras import ops

from keras_griffin.models.documents import PackedRows
from keras_griffin.models.loss_in_pieces import LossInPieces


def packed_model(language_model) -> keras.Model:
    """The functional model that `LanguageModel.packed` describes, not yet compiled."""
    inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in ("token_ids", "segment_ids")}
    vectors = _vectors(language_model, PackedRows(name="packed_rows"), **inputs)
    logits = language_model.token_embedding(vectors, reverse=True)
    return keras.Model(inputs, logits, name=f"{language_model.name}_packed")


@keras.saving.register_keras_serializable("keras_griffin")
class PackedWithoutLogits(LossInPieces):
    """The same over packed rows, without logits; see `LanguageModel.packed`."""

    def __init__(self, language_model, **kwargs):
        super().__init__(language_model, **kwargs)
        self._rows = PackedRows(name="packed_rows")
        self._rows.built = True

    def call(self, inputs):
        """The vectors `(B, T, D)` of `{"token_ids": (B, T), "segment_ids": (B, T)}`."""
        return _vectors(self.language_model, self._rows, inputs["token_ids"], inputs["segment_ids"])

    def compute_output_spec(self, inputs, **kwargs):
        """Shape and dtype of what `call` returns."""
        return self.vectors_spec(inputs["token_ids"].shape)


def _vectors(language_model, rows, token_ids, segment_ids):
    """What the head makes logits of, `(B, T, D)`."""
    tokens, reset, places = rows(token_ids, segment_ids)
    x = language_model.token_embedding(tokens)
    for block in language_model.blocks:
        x = block(x, reset=reset)
    return ops.take_along_axis(language_model.final_norm(x), ops.expand_dims(places, -1), axis=1)
