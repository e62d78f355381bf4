"""Presets from the Hugging Face Hub."""

import re
from pathlib import Path

SCHEME = "hf://"
#: Weights that run nothing when they are read, configs, and tokenizers.
PATTERNS = ["*.safetensors", "*.json", "tokenizer.model"]
_NAME = r"\w(?:[\w.-]*\w)?"


def download(address: str) -> Path:
    """The local folder of a repository on the Hub; it is downloaded at most once.

    Args:
        address: `"hf://owner/name"`.

    Returns:
        The folder, in the cache of `huggingface_hub`.

    Raises:
        ImportError: `huggingface_hub` is not installed.
        OSError: the repository can't be had.
        ValueError: the address is no repository's.
    """
    repository = address.removeprefix(SCHEME)
    # The Hub's own rule, so that a slip is not taken for a network that is down.
    if not re.fullmatch(rf"{_NAME}/{_NAME}", repository, re.ASCII):
        raise ValueError(f"from_preset: an address on the Hub must be hf://owner/name. Got {address!r}.")
    try:
        import huggingface_hub
    except ImportError as error:
        raise ImportError(
            f"from_preset: hf:// needs the package huggingface-hub: pip install 'keras-griffin[hub]'. Got {address!r}."
        ) from error
    try:
        return Path(huggingface_hub.snapshot_download(repository, allow_patterns=PATTERNS))
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise OSError(
            "from_preset: the repository could not be downloaded; accept its licence and log in with `hf auth login` "
            "where it asks for that, and without a network give the folder of a copy in its place. "
            f"Got {address!r}: {reason}"
        ) from error
