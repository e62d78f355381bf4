"""Text to token ids and back.

A tokenizer is any object with the following attributes and methods; the protocol `Tokenizer` is their type.

    vocabulary_size: int         ids are at least 0 and below it
    start_id: int | None         the id that an empty prompt starts with
    stop_ids: tuple[int, ...]    the ids at which a text ends
    pad_id: int                  fills rows; padding is masked, so it may be a token's id too
    encode(text, *, start=True)  -> list[int]: the text's ids, after the start token if the
                                 models expect one; `start=False` for text that continues other text
    decode(token_ids)            -> str: `(T,)` ids to text, without special tokens
    token_bytes(token_id, is_first=False)
                                 -> bytes: the bytes of one token, none for a special one; a first
                                 token may lose the space before its word
    save(directory)              write its files, for `load_tokenizer`

A text is the concatenation of its tokens' bytes, decoded as UTF-8: invalid bytes become U+FFFD, one for each maximal
part of a character, in the same way for every tokenizer. So `IncrementalDecoder` gives the same text, piece by piece,
at a constant cost per token.

Each class here can be serialised in a Keras config, so a `.keras` file includes a model's tokenizer. A new one is a
subclass of `FileTokenizer`, which says what it needs beyond the contract, and a row of `TOKENIZERS`.
"""

from keras_griffin.tokenizers.byte_tokenizer import ByteTokenizer
from keras_griffin.tokenizers.chat import chat_prompt, next_turn
from keras_griffin.tokenizers.contract import Tokenizer
from keras_griffin.tokenizers.hugging_face_tokenizer import HuggingFaceTokenizer
from keras_griffin.tokenizers.load_tokenizer import load_tokenizer
from keras_griffin.tokenizers.sentencepiece_tokenizer import SentencePieceTokenizer
from keras_griffin.tokenizers.train_bpe import train_bpe

__all__ = [
    "ByteTokenizer",
    "HuggingFaceTokenizer",
    "SentencePieceTokenizer",
    "Tokenizer",
    "chat_prompt",
    "load_tokenizer",
    "next_turn",
    "train_bpe",
]
__dir__ = __all__.copy
