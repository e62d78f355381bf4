"""Train a byte-pair encoding on a text."""

import json
from collections.abc import Iterable, Iterator

from keras_griffin.checks import Rule, checked, is_integer
from keras_griffin.tokenizers.checks import MOST_TOKENS, check_characters
from keras_griffin.tokenizers.file_tokenizer import import_package
from keras_griffin.tokenizers.hugging_face_tokenizer import HuggingFaceTokenizer
from keras_griffin.tokenizers.special_tokens import END_OF_TEXT

#: The size of the smallest vocabulary: each byte, and the end of a text.
_LEAST = 256 + 1
#: The trainer allocates memory for all tokens before it reads a text.
_SIZE = Rule(
    f"an integer from {_LEAST} to {MOST_TOKENS}", lambda value: is_integer(value) and _LEAST <= value <= MOST_TOKENS
)
#: In bytes; the trainer's time grows with the square of a word's length.
_LONGEST_WORD = 256


def train_bpe(texts: Iterable[str], vocabulary_size: int) -> HuggingFaceTokenizer:
    """Train byte-level byte-pair encoding: starting from bytes, the most frequent pair of tokens becomes a new token.

    Words are split as in GPT-2, each with the space before it, and no token extends beyond a word. A word of more than
    256 bytes, as in a text without spaces, is learned from in parts of 256. Every text is encoded losslessly, since all
    bytes are tokens: nothing is unknown, normalised or added. The same texts give the same tokenizer.

    Args:
        texts: any number of texts, read once.
        vocabulary_size: the number of tokens: 256 bytes, the end of a text, and the learned ones, at most 1,048,576,
            since memory for all of them is allocated at once. The result has fewer if no pair is left that occurs
            twice.

    Returns:
        A `HuggingFaceTokenizer` whose only stop id, 0, is `<|endoftext|>`. No text is encoded as that, not even its
        name.

    Raises:
        ImportError: `tokenizers`, which the extra `tokenizers` installs, is missing.
        ValueError: the size is not an integer from 257 to 1,048,576; the texts are a single text or have no character;
            or a text is not a str, or has a surrogate, which is not a character.

    Examples:
        >>> from keras_griffin.tokenizers import train_bpe
        >>> tokenizer = train_bpe(["the cat", "the mat", "the bat"], 262)
        >>> [tokenizer.token_bytes(token_id) for token_id in tokenizer.encode("the cat")]
        [b'the', b' ', b'c', b'at']
        >>> tokenizer.decode(tokenizer.encode("né"))
        'né'

    Reference: Sennrich et al. 2016 (arXiv 1508.07909); Radford et al. 2019, "Language Models are Unsupervised Multitask
    Learners", section 2.2, for bytes and words.
    """
    vocabulary_size = checked("train_bpe", _SIZE, vocabulary_size=vocabulary_size)
    if isinstance(texts, str):
        raise ValueError(f"train_bpe: texts must be several texts, or a list of one. Got the text {texts[:20]!r}.")
    package = import_package("train_bpe", "tokenizers")
    pre_tokenizers = package.pre_tokenizers
    tokenizer = package.Tokenizer(package.models.BPE())
    words = pre_tokenizers.ByteLevel(add_prefix_space=False)
    parts = pre_tokenizers.Split(package.Regex(f".{{1,{_LONGEST_WORD}}}"), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, parts])
    tokenizer.decoder = package.decoders.ByteLevel()
    trainer = package.trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        min_frequency=2,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[END_OF_TEXT],
        show_progress=False,
    )
    tokenizer.train_from_iterator(_checked(texts), trainer)
    tokenizer.pre_tokenizer = words
    trained = json.loads(tokenizer.to_str())
    # An added token would be matched in texts. The vocabulary keeps its name, which no merge produces.
    trained["added_tokens"] = []
    return HuggingFaceTokenizer(package.Tokenizer.from_str(json.dumps(trained)))


def _checked(texts: Iterable[str]) -> Iterator[str]:
    """The texts, checked as they are read; at least one must have a character."""
    count = length = 0
    for text in texts:
        if not isinstance(text, str):
            raise ValueError(f"train_bpe: a text must be a str. Got {type(text).__name__} as text {count}.")
        check_characters(text, "train_bpe")
        count, length = count + 1, length + len(text)
        yield text
    if not length:
        raise ValueError(f"train_bpe: texts must have at least one character. Got {count} empty texts.")
