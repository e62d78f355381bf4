"""Read conversations from a JSON Lines file, as documents in which only the answers have weight."""

import json
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_griffin.tokenizers import Tokenizer
from keras_griffin.tokenizers.chat import chat_tokens

#: The names of the roles in files, and here.
ROLES = {"user": "user", "assistant": "model", "model": "model"}


class Chats(NamedTuple):
    """Conversations as token ids."""

    #: For each an int32 array `(T,)`.
    documents: list[np.ndarray]
    #: For each a float32 array `(T,)`: 1 for tokens that the model writes, 0 for tokens that it reads.
    weights: list[np.ndarray]


def read_chats(path: str | os.PathLike, tokenizer: Tokenizer) -> Chats:
    r"""Read a file with one conversation per line:

        {"messages": [{"role": "user", "content": "2+3?"}, {"role": "assistant", "content": "5"}]}

    The last message is the assistant's, also called the model's. There is no system role: put instructions into the
    first message. Blank lines and other keys are ignored. Token ids are those of
    `keras_griffin.tokenizers.chat.chat_tokens`.

    Args:
        path: of the file, in UTF-8.
        tokenizer: the model's.

    Returns:
        A `Chats`, for `PackedDocuments(chats.documents, ..., weights=chats.weights)`.

    Raises:
        ValueError: a line is not such a conversation, or the tokenizer does not accept it, in which case the message
            names the line; or the file has no conversation.

    Examples:
        >>> import pathlib, tempfile, keras_griffin
        >>> from keras_griffin.tokenizers import ByteTokenizer
        >>> from keras_griffin.training import read_chats
        >>> path = pathlib.Path(tempfile.mkdtemp(), "chats.jsonl")
        >>> line = '{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]}'
        >>> _ = path.write_text(line)
        >>> chats = read_chats(path, ByteTokenizer())
        >>> chats.documents[0].tobytes().replace(bytes(3), b""), chats.weights[0].tolist()
        (b'hi\nho\n', [0.0, 0.0, 0.0, 1.0, 1.0, 1.0])
    """
    chats = Chats([], [])
    with Path(path).open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                token_ids, is_answer = _read_line(line, tokenizer, f"line {number} of {str(path)!r}")
                chats.documents.append(np.array(token_ids, "int32"))
                chats.weights.append(np.array(is_answer, "float32"))
    if not chats.documents:
        raise ValueError(f"read_chats: the file must have at least one conversation. Got {str(path)!r} with none.")
    return chats


def _read_line(line, tokenizer, place):
    content = _checked(f"each line must be JSON, in UTF-8. Got {place}", lambda: json.loads(line.decode("utf-8")))
    messages = content.get("messages") if isinstance(content, dict) else None
    if not isinstance(messages, list) or not messages:
        raise ValueError(
            f'read_chats: each line must be {{"messages": [...]}}. Got {place} without a list of messages.'
        )
    turns = [_turn(message, f"message {index} in {place}") for index, message in enumerate(messages, 1)]
    rule = f"each line must be a conversation to train on. Got {place}"
    return _checked(rule, lambda: chat_tokens(tokenizer, turns))


def _checked(rule, act):
    """The result of a function; its error is rephrased into one sentence that names the line."""
    try:
        return act()
    except (ValueError, RecursionError) as error:
        reason = str(error).removesuffix(".")
    raise ValueError(f"read_chats: {rule}: {reason}.")


def _turn(message, place):
    message = message if isinstance(message, dict) else {}
    role, content = message.get("role"), message.get("content")
    if not isinstance(role, str) or role not in ROLES:
        raise ValueError(f"read_chats: a role must be one of {', '.join(ROLES)}. Got {role!r}, {place}.")
    if not isinstance(content, str):
        raise ValueError(f"read_chats: content must be a text. Got {content!r}, {place}.")
    return ROLES[role], content
