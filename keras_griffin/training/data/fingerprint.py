"""A 32-byte fingerprint of a tokenizer."""

import hashlib
import json

import numpy as np

#: The fingerprint of an unknown tokenizer.
UNKNOWN = bytes(32)
#: Letters, numbers, spaces, line breaks and symbols, which tokenizers split in different ways.
_SAMPLE = (
    "The cat, it's said, sat on 3,141 mats.\n\tdef f(x):\n        return x**2  # É 本 😀 naïveté ---- Straßenbahn\n"
)
#: How many tokens contribute their bytes.
_TOKENS = 512


def tokenizer_fingerprint(tokenizer) -> bytes:
    """A digest of a tokenizer's behaviour: its size, its special ids, a sample, and the bytes of some tokens.

    Not of its files: versions of a package may write the same tokenizer differently.
    """
    size = tokenizer.vocabulary_size
    some = np.unique(np.linspace(0, size - 1, _TOKENS).round().astype("int64")).tolist()
    written = [tokenizer.token_bytes(token_id).hex() for token_id in some]
    special = [tokenizer.start_id, sorted(tokenizer.stop_ids), tokenizer.pad_id]
    ids = [int(token_id) for token_id in tokenizer.encode(_SAMPLE)]
    return hashlib.sha256(json.dumps([size, special, ids, written]).encode()).digest()
