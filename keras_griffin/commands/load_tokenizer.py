"""Load the tokenizer that `--tokenizer` names."""

import os

from keras_griffin.commands.errors import CommandError
from keras_griffin.tokenizers import ByteTokenizer, HuggingFaceTokenizer, SentencePieceTokenizer, load_tokenizer

#: Tokenizers that are a single file, by file name.
_FILES = {cls.file_name: cls for cls in (HuggingFaceTokenizer, SentencePieceTokenizer)}


def load_named_tokenizer(
    command: str, path: str | None, option: str = "--tokenizer"
) -> ByteTokenizer | HuggingFaceTokenizer | SentencePieceTokenizer:
    """The tokenizer in a folder or a file; the byte tokenizer if no path is given.

    Args:
        command: name for error messages.
        path: the value of `--tokenizer`.
        option: the name of the option `--tokenizer`, for error messages.

    Raises:
        CommandError: there is no tokenizer at the path.
    """
    if path is None:
        return ByteTokenizer()
    try:
        cls = _FILES.get(os.path.basename(path))
        # An empty name would be the current folder.
        tokenizer = cls(path) if cls and os.path.isfile(path) else load_tokenizer(path) if path else None
    except (ImportError, OSError, ValueError) as error:
        raise CommandError(str(error).splitlines()[0]) from error
    if tokenizer is None:
        raise CommandError(
            f"{command}: {option} must be a folder with one of {', '.join([ByteTokenizer.file_name, *_FILES])}. "
            f"Got {path!r}."
        )
    return tokenizer
