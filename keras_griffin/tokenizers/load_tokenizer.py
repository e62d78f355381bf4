"""Load the tokenizer in a folder."""

import importlib.util
import os
from pathlib import Path
from typing import cast

from keras_griffin.tokenizers.byte_tokenizer import ByteTokenizer
from keras_griffin.tokenizers.contract import Tokenizer
from keras_griffin.tokenizers.file_tokenizer import FileTokenizer
from keras_griffin.tokenizers.hugging_face_tokenizer import HuggingFaceTokenizer
from keras_griffin.tokenizers.sentencepiece_tokenizer import SentencePieceTokenizer

#: The tokenizers of this package, in the order in which `load_tokenizer` prefers them.
TOKENIZERS: tuple[type[FileTokenizer], ...] = (ByteTokenizer, HuggingFaceTokenizer, SentencePieceTokenizer)
#: All files that tokenizers save.
TOKENIZER_FILES = [name for cls in TOKENIZERS for name in (cls.file_name, *cls.more_files)]


def load_tokenizer(directory: str | os.PathLike) -> Tokenizer | None:
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
    there = [cls for cls in TOKENIZERS if (directory / cls.file_name).is_file()]
    # Sorting is stable. If no package is installed, the first class reports which one is missing.
    there.sort(key=lambda cls: cls.package is not None and importlib.util.find_spec(cls.package) is None)
    return cast(Tokenizer, there[0].load(directory)) if there else None
