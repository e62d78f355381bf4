"""Presets from the Hugging Face Hub."""

import re
from pathlib import Path

from keras_griffin.tokenizers.load_tokenizer import TOKENIZER_FILES

SCHEME = "hf://"
#: Weights in a format that can't run code, configs, and tokenizers.
PATTERNS = ["*.safetensors", "*.json", *(name for name in TOKENIZER_FILES if not name.endswith(".json"))]
#: PyTorch's format, which is read without running code, for repositories that have no other.
TORCH_PATTERN = "pytorch_model*.bin"
_NAME = r"\w(?:[\w.-]*\w)?"


def download(address: str) -> Path:
    """The folder of the repository `hf://owner/name`, downloaded at most once, in the cache of `huggingface_hub`."""
    repository = address.removeprefix(SCHEME)
    # The Hub's rule for names, so that a typing error does not look like a network failure.
    if not re.fullmatch(rf"{_NAME}/{_NAME}", repository, re.ASCII):
        raise ValueError(f"from_preset: an address on the Hub must be hf://owner/name. Got {address!r}.")
    try:
        import huggingface_hub
    except ImportError as error:
        raise ImportError(
            f"from_preset: hf:// needs the package huggingface-hub: pip install 'keras-griffin[hub]'. Got {address!r}."
        ) from error
    try:
        folder = Path(huggingface_hub.snapshot_download(repository, allow_patterns=PATTERNS))
        if any(folder.glob("*.safetensors")):
            return folder
        return Path(huggingface_hub.snapshot_download(repository, allow_patterns=[*PATTERNS, TORCH_PATTERN]))
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise OSError(
            "from_preset: the repository could not be downloaded; if it requires that, accept its licence and log in "
            "with `hf auth login`; without a network, give the folder of a local copy instead. "
            f"Got {address!r}: {reason}"
        ) from error
