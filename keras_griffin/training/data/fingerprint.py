"""Which tokenizer made some ids, in 32 bytes."""

import hashlib
import json

import numpy as np

#: In place of the fingerprint of nobody knows which tokenizer.
UNKNOWN = bytes(32)
#: Letters, numbers, spaces, line breaks and signs, which tokenizers cut in different ways.
_SAMPLE = (
    "The cat, it's said, sat on 3,141 mats.\n\tdef f(x):\n        return x**2  # É 本 😀 naïveté ---- Straßenbahn\n"
)
#: Of how many tokens it is looked at what they write.
_TOKENS = 512


def tokenizer_fingerprint(tokenizer) -> bytes:
    """A digest of what a tokenizer does: its sizes and special ids, a sample's ids, and what some of its tokens write.

    Of what it does and not of its files, because packages write the same tokenizer in one way today and in another
    tomorrow.

    Args:
        tokenizer: see `keras_griffin.tokenizers`.

    Returns:
        32 bytes.

    Examples:
        >>> from keras_griffin.tokenizers import ByteTokenizer
        >>> from keras_griffin.training.data.fingerprint import tokenizer_fingerprint
        >>> tokenizer_fingerprint(ByteTokenizer()).hex()[:8]
        '66eb6731'
    """
    size = tokenizer.vocabulary_size
    some = np.unique(np.linspace(0, size - 1, _TOKENS).round().astype("int64")).tolist()
    written = [tokenizer.token_bytes(token_id).hex() for token_id in some]
    special = [tokenizer.start_id, sorted(tokenizer.stop_ids), tokenizer.pad_id]
    ids = [int(token_id) for token_id in tokenizer.encode(_SAMPLE)]
    return hashlib.sha256(json.dumps([size, special, ids, written]).encode()).digest()
