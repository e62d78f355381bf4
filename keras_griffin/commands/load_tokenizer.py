"""The tokenizer that `--tokenizer` names."""

import os

from keras_griffin.commands.errors import CommandError
from keras_griffin.tokenizers import ByteTokenizer, HuggingFaceTokenizer, SentencePieceTokenizer, load_tokenizer

#: Tokenizers that are files by themselves, by the files' names.
_FILES = {cls.file_name: cls for cls in (HuggingFaceTokenizer, SentencePieceTokenizer)}


def load_named_tokenizer(
    command: str, path: str | None, option: str = "--tokenizer"
) -> ByteTokenizer | HuggingFaceTokenizer | SentencePieceTokenizer:
    """The tokenizer in a folder, or in a file that is one; that of bytes where none is named.

    Args:
        command: in whose name errors speak.
        path: what `--tokenizer` says.
        option: what `--tokenizer` is called.

    Raises:
        CommandError: there is none.
    """
    if path is None:
        return ByteTokenizer()
    try:
        cls = _FILES.get(os.path.basename(path))
        # An empty name would be the folder at hand.
        tokenizer = cls(path) if cls and os.path.isfile(path) else load_tokenizer(path) if path else None
    except (ImportError, OSError, ValueError) as error:
        raise CommandError(str(error).splitlines()[0]) from error
    if tokenizer is None:
        raise CommandError(
            f"{command}: {option} must be a folder with one of {', '.join([ByteTokenizer.file_name, *_FILES])}. "
            f"Got {path!r}."
        )
    return tokenizer
