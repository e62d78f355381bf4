"""Decode a stream of token ids to text."""

import codecs

import keras
import numpy as np

from keras_griffin.shapes import Tensor
from keras_griffin.tokenizers.contract import Tokenizer


class IncrementalDecoder:
    """The text of a stream of tokens, piece by piece.

    The pieces together are exactly `tokenizer.decode` of all ids. A character is emitted with its last byte, and U+FFFD
    as soon as the bytes can't become a character. `is_first` is False if the text continues other text.
    """

    def __init__(self, tokenizer: Tokenizer, *, is_first: bool = True):
        self._tokenizer = tokenizer
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._is_first = is_first

    def push(self, token_id: int) -> str:
        """The text that this token completes, possibly empty."""
        written = self._tokenizer.token_bytes(token_id)
        if written and self._is_first:
            written = self._tokenizer.token_bytes(token_id, is_first=True)
            self._is_first = False
        text = self._utf8.decode(written)
        # A surrogate can't become a character, but Python waits for its third byte.
        waiting, _ = self._utf8.getstate()
        if waiting[:1] == b"\xed" and waiting[1:] >= b"\xa0":
            text += self._utf8.decode(b"", final=True)
        return text

    def flush(self) -> str:
        """The rest at the end of the text: U+FFFD if a character is incomplete. Another text may follow."""
        self._is_first = True
        return self._utf8.decode(b"", final=True)


def decode(tokenizer: Tokenizer, token_ids: Tensor) -> str:
    """The text of `token_ids (T,)`, a list or an array of integers: `decode` of each tokenizer of this package."""
    array = keras.ops.convert_to_numpy(token_ids)
    if array.ndim != 1 or (array.size and not np.issubdtype(array.dtype, np.integer)):
        raise ValueError(f"decode: token_ids must be integers (T,). Got {array.dtype} {array.shape}.")
    decoder = IncrementalDecoder(tokenizer)
    return "".join(map(decoder.push, array.tolist())) + decoder.flush()
