"""What every tokenizer refuses."""


def check_id(token_id: int, vocabulary_size: int) -> None:
    """Refuse an id that is not in the vocabulary.

    Raises:
        ValueError: it is not.
    """
    if not 0 <= token_id < vocabulary_size:
        raise ValueError(
            f"decode: an id must be at least 0 and below the vocabulary's size {vocabulary_size}. Got {token_id}."
        )


def check_characters(text: str) -> None:
    """Refuse a text that is not all characters: the surrogates of a command line's bytes, for instance.

    Raises:
        ValueError: it is so.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"encode: the text must be characters alone. Got the surrogate {text[error.start]!r} at {error.start}."
        ) from error
