"""Text to token ids and back.

A tokenizer is any object with what follows; `Tokenizer` is that as a type.

    vocabulary_size: int            ids are at least 0 and below it
    start_id: int | None            what an empty prompt starts with
    stop_ids: tuple[int, ...]       the ids at which a text ends
    pad_id: int                     what fills a row up; pads are masked, so it may be a token's id too
    encode(text, *, start=True)     -> list[int]: the text's ids, after the start token where the models want one;
                                    `start=False` for text that goes on where other text ended
    decode(token_ids)               -> str: `(T,)` ids to text, special tokens left out
    token_bytes(token_id, is_first=False)
                                    -> bytes: what one token writes, nothing for a special one; a first token may lose
                                    the space that stands before every word
    save(directory)                 its files, from which `load_tokenizer` makes it again

A text is what its tokens write, one after another, and those bytes are read as UTF-8: what is no character becomes
U+FFFD, one for each longest part of a character, in the same way for every tokenizer. So `IncrementalDecoder` gives
the same text, piece by piece, at a cost that stays the same for ever.

Each class here can stand in a Keras config with all that it holds, so a `.keras` file keeps a model's tokenizer.
"""

from keras_griffin.tokenizers.byte_tokenizer import ByteTokenizer
from keras_griffin.tokenizers.chat import chat_prompt, chat_tokens, next_turn
from keras_griffin.tokenizers.contract import Tokenizer
from keras_griffin.tokenizers.hugging_face_tokenizer import HuggingFaceTokenizer
from keras_griffin.tokenizers.incremental_decoder import IncrementalDecoder
from keras_griffin.tokenizers.load_tokenizer import load_tokenizer
from keras_griffin.tokenizers.sentencepiece_tokenizer import SentencePieceTokenizer
from keras_griffin.tokenizers.train_bpe import train_bpe

__all__ = [
    "ByteTokenizer",
    "HuggingFaceTokenizer",
    "IncrementalDecoder",
    "SentencePieceTokenizer",
    "Tokenizer",
    "chat_prompt",
    "chat_tokens",
    "load_tokenizer",
    "next_turn",
    "train_bpe",
]
