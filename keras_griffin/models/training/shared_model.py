"""Shared by the models that train a language model's weights in another way."""

from typing import Any

import keras

from keras_griffin.models.training.compile_config import CompiledAgain
from keras_griffin.models.training.first_batch import BatchRules, FirstBatch, rules_of_loss


class SharedModel(FirstBatch, CompiledAgain, keras.Model):
    """A model that owns no weights: it trains those of a language model.

    Args:
        language_model: a `LanguageModel`.
        **kwargs: `name`.

    Attributes:
        batch_names: a class attribute: the names of a batch's inputs.
        may_come_alone: a class attribute: whether token ids alone are accepted too.
    """

    batch_names: tuple[str, ...] = ()
    may_come_alone = False

    def __init__(self, language_model: keras.Model, **kwargs: Any):
        super().__init__(**kwargs)
        # For Keras, which scales the loss if the policy is mixed_float16.
        self.dtype_policy = language_model.dtype_policy
        self.language_model = language_model
        self.built = True

    def batch_rules(self) -> BatchRules:
        """The model's rules for its batches."""
        vocabulary_size = self.language_model.config.vocabulary_size
        rules = rules_of_loss(getattr(self, "loss", None))
        return BatchRules(self.batch_names, vocabulary_size, self.may_come_alone, **rules)

    def vectors_spec(self, shape: tuple[int | None, int | None]) -> keras.KerasTensor:
        """Shape and dtype of the head's inputs, for token ids of a shape `(B, T)`."""
        return keras.KerasTensor((*shape, self.language_model.config.width), self.dtype_policy.compute_dtype)

    def logits_spec(self, shape: tuple[int | None, int | None]) -> keras.KerasTensor:
        """Shape and dtype of the logits of token ids of a shape `(B, T)`."""
        return keras.KerasTensor((*shape, self.language_model.config.vocabulary_size), "float32")

    def get_config(self):
        """The complete language model."""
        return {"name": self.name, "language_model": keras.saving.serialize_keras_object(self.language_model)}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Rebuild the language model too."""
        return cls(**{**config, "language_model": keras.saving.deserialize_keras_object(config["language_model"])})
