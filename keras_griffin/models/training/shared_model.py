"""Shared by the models that train a language model's weights in another way."""

from typing import Any

import keras

from keras_griffin.models.training.compile_config import CompiledAgain
from keras_griffin.models.training.first_batch import FirstBatch


class SharedModel(FirstBatch, CompiledAgain, keras.Model):
    """A model that owns no weights: it trains those of a `LanguageModel`."""

    def __init__(self, language_model: keras.Model, **kwargs: Any):
        super().__init__(**kwargs)
        # For Keras, which scales the loss if the policy is mixed_float16.
        self.dtype_policy = language_model.dtype_policy
        self.language_model = language_model
        self.built = True

    def known_language_model(self) -> keras.Model:
        """The language model whose weights are trained."""
        return self.language_model

    def vocabulary_size_of_batches(self) -> int:
        """V."""
        return self.language_model.config.vocabulary_size

    def compute_output_spec(self, inputs, **kwargs):
        """Shape and dtype of the outputs of `call`, logits."""
        token_ids = inputs["token_ids"] if isinstance(inputs, dict) else inputs
        return keras.KerasTensor((*token_ids.shape, self.vocabulary_size_of_batches()), "float32")

    def get_config(self):
        """The complete language model."""
        return {"name": self.name, "language_model": keras.saving.serialize_keras_object(self.language_model)}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Rebuild the language model too."""
        return cls(**{**config, "language_model": keras.saving.deserialize_keras_object(config["language_model"])})
