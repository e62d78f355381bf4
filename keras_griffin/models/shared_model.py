"""What the models have in common that train a language model's own weights in another way."""

import keras

from keras_griffin.models.compilation import compile_again, compile_config


class SharedModel(keras.Model):
    """A model that owns no weights: those of a language model, which it trains.

    Args:
        language_model: a `LanguageModel`.
        **kwargs: `name`.
    """

    def __init__(self, language_model, **kwargs):
        super().__init__(**kwargs)
        # For Keras, which scales the loss where the policy is mixed_float16.
        self.dtype_policy = language_model.dtype_policy
        self.language_model = language_model
        self.built = True

    def fit(self, x=None, y=None, *args, **kwargs):
        """Train; see `keras.Model.fit`.

        Raises:
            ValueError: `x`, or the data for validation, has tokens of another vocabulary; see `check_tokens`.
        """
        check_tokens(self.language_model, x, kwargs.get("validation_data"))
        return super().fit(x, y, *args, **kwargs)

    def evaluate(self, x=None, y=None, *args, **kwargs):
        """Evaluate; see `keras.Model.evaluate`.

        Raises:
            ValueError: `x` has tokens of another vocabulary; see `check_tokens`.
        """
        check_tokens(self.language_model, x)
        return super().evaluate(x, y, *args, **kwargs)

    def vectors_spec(self, shape: tuple[int | None, int | None]) -> keras.KerasTensor:
        """Shape and dtype of what the head makes logits of, for token ids of a shape `(B, T)`."""
        return keras.KerasTensor((*shape, self.language_model.config.width), self.dtype_policy.compute_dtype)

    def logits_spec(self, shape: tuple[int | None, int | None]) -> keras.KerasTensor:
        """Shape and dtype of the logits of token ids of a shape `(B, T)`."""
        return keras.KerasTensor((*shape, self.language_model.config.vocabulary_size), "float32")

    def get_config(self):
        """The language model, whole."""
        return {"name": self.name, "language_model": keras.saving.serialize_keras_object(self.language_model)}

    def get_compile_config(self):
        """How the model is compiled; see `keras_griffin.models.compilation`."""
        return compile_config(self, super().get_compile_config())

    def compile_from_config(self, config):
        """Compile as saved."""
        compile_again(self, config)

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Rebuild the language model too."""
        return cls(**{**config, "language_model": keras.saving.deserialize_keras_object(config["language_model"])})


def check_tokens(language_model: keras.Model, *data) -> None:
    """Refuse a dataset of documents that say themselves, by a method `check_model`, that they are for another model.

    So do those of a `keras_griffin.training.TokenFile`, which know their vocabulary and tokenizer. What is no
    `keras.utils.PyDataset`, or holds neither `documents` nor, as `data`, another dataset, is not looked into.

    Args:
        language_model: a `LanguageModel`.
        *data: anything that `fit` takes.

    Raises:
        ValueError: so it is.
    """
    for dataset in data:
        while isinstance(dataset, keras.utils.PyDataset):
            # Asked for by name: what knows of files stands above the models.
            check_model = getattr(getattr(dataset, "documents", None), "check_model", None)
            if check_model is not None:
                check_model(language_model)
            dataset = getattr(dataset, "data", None)
