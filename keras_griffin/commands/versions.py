"""The versions with which a result was produced."""

import platform
from importlib import metadata

import keras

from keras_griffin.tokenizers import HuggingFaceTokenizer, SentencePieceTokenizer

_TOKENIZERS = {HuggingFaceTokenizer: "tokenizers", SentencePieceTokenizer: "sentencepiece"}


def versions(tokenizer) -> dict[str, str | None]:
    """The versions of Python, of this package and of the packages that a model with this tokenizer needs.

    The version is None for a package without metadata, such as a checkout.
    """
    names = ["keras", "keras_griffin", "numpy", keras.backend.backend()]
    names += [name for cls, name in _TOKENIZERS.items() if isinstance(tokenizer, cls)]
    return {"python": platform.python_version(), **{name: _version(name) for name in names}}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
