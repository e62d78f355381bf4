"""With what a result was made."""

import platform
from importlib import metadata

import keras

from keras_griffin.tokenizers import HuggingFaceTokenizer, SentencePieceTokenizer

_TOKENIZERS = {HuggingFaceTokenizer: "tokenizers", SentencePieceTokenizer: "sentencepiece"}


def versions(tokenizer) -> dict[str, str | None]:
    """The versions of Python, of this package and of those that a model with this tokenizer needs.

    That of a package without metadata, such as a checkout, is None.
    """
    names = ["keras", "keras_griffin", "numpy", keras.backend.backend()]
    names += [name for cls, name in _TOKENIZERS.items() if isinstance(tokenizer, cls)]
    return {"python": platform.python_version(), **{name: _version(name) for name in names}}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
