"""Load the tokenizer in a folder."""

import importlib.util
import os
from pathlib import Path

from keras_griffin.tokenizers.byte_tokenizer import ByteTokenizer
from keras_griffin.tokenizers.hugging_face_tokenizer import HuggingFaceTokenizer
from keras_griffin.tokenizers.sentencepiece_tokenizer import SentencePieceTokenizer


def load_tokenizer(
    directory: str | os.PathLike,
) -> ByteTokenizer | HuggingFaceTokenizer | SentencePieceTokenizer | None:
    """The tokenizer in a folder, found by its files, or None.

    The files are `byte_tokenizer.json`, `tokenizer.json` (Hugging Face) and `tokenizer.model` (SentencePiece), in this
    order. Released models often have the last two, which are equivalent; then the first whose package is installed is
    loaded.

    Args:
        directory: a folder that `save` wrote, or a released model.

    Raises:
        ImportError: a package is missing; the message says how to install it.
        ValueError: a file is not of the format that its name implies.

    Examples:
        >>> import tempfile
        >>> from keras_griffin.tokenizers import ByteTokenizer, load_tokenizer
        >>> folder = tempfile.mkdtemp()
        >>> ByteTokenizer().save(folder)
        >>> load_tokenizer(folder)
        ByteTokenizer()
    """
    directory = Path(directory)
    if (directory / ByteTokenizer.file_name).is_file():
        return ByteTokenizer.load(directory)
    packages: dict[type[HuggingFaceTokenizer | SentencePieceTokenizer], str] = {
        HuggingFaceTokenizer: "tokenizers",
        SentencePieceTokenizer: "sentencepiece",
    }
    there = [cls for cls in packages if (directory / cls.file_name).is_file()]
    # Sorting is stable. If no package is installed, the first class reports which one is missing.
    there.sort(key=lambda cls: importlib.util.find_spec(packages[cls]) is None)
    return there[0].load(directory) if there else None
