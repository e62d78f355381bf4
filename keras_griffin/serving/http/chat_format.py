"""The messages of a chat as segments of tokens, one for each: the state after each message can be kept."""

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_griffin.serving.http.fields import is_text
from keras_griffin.serving.http.refusal import Refusal, received
from keras_griffin.tokenizers.chat import ChatFormat
from keras_griffin.tokenizers.special_tokens import TURN_MARKS

SYSTEM = ("system", "developer")
ROLES = (*SYSTEM, "user", "assistant")
#: How many messages' tokens are known, of up to so many characters.
MOST_KNOWN = 4096


def segments_of(chat: ChatFormat, messages: list, *, is_new: bool = True, is_ended: bool = True) -> list[np.ndarray]:
    """The tokens of each message, up to the opening of the answer.

    Messages of the system come first, as one segment; then questions and answers alternate. Unless `is_new`, they
    continue a conversation, whose last answer has its end if `is_ended`, and there may be none: the answer goes on.
    """
    turns = [_role_and_text(index, message, chat) for index, message in enumerate(messages)]
    count = next((index for index, (role, _) in enumerate(turns) if role not in SYSTEM), len(turns))
    system, turns = "\n".join(text for _, text in turns[:count]), turns[count:]
    _check_turns([role for role, _ in turns], has_system=count > 0, is_new=is_new)
    return [*_parts(chat, system, turns, is_new, is_ended)]


def _parts(chat, system, turns, is_new, is_ended) -> Iterator[np.ndarray]:
    if system:
        yield _tokens(chat.system, system)
    for index, (role, text) in enumerate(turns):
        if role == "assistant":
            yield _tokens(chat.answer, text)
        else:
            is_opened = bool(system) and not index
            is_first = is_new and not index and not is_opened
            options = {"is_first": is_first, "is_ended": is_ended or index > 0, "is_opened": is_opened}
            yield _tokens(chat.question, text.strip(), **options)


def _tokens(encode, text, **options):
    """Of one message, which comes again with each later turn."""
    known = _known if len(text) <= MOST_KNOWN else _known.__wrapped__
    return known(encode, text, **options)


@functools.lru_cache(maxsize=MOST_KNOWN)
def _known(encode, text, **options):
    token_ids = np.array(encode(text, **options), "int32")
    token_ids.flags.writeable = False
    return token_ids


def _check_turns(roles, *, has_system, is_new):
    if not roles and not has_system and not is_new:
        return
    if len(roles) % 2 == 0 or roles != [("user", "assistant")[index % 2] for index in range(len(roles))]:
        raise Refusal(
            "messages must be of the system, if any, and then alternate between 'user' and 'assistant', beginning and "
            f"ending with 'user'. Got {', '.join(map(repr, roles)) or 'none'}.",
            param="messages",
        )
    if has_system and not is_new:
        raise Refusal("messages of the system must come before the first answer. Got one after it.", param="messages")


def _role_and_text(index, message, chat):
    """The role of a message, and its text, which can't forge another turn."""
    name = f"messages[{index}]"
    if not isinstance(message, dict) or message.get("role") not in ROLES:
        raise Refusal(
            f"{name} must be an object with a role among {', '.join(ROLES)}. Got {received(message)}.", param=name
        )
    role = message["role"]
    for key, value in message.items():
        if key not in ("role", "content", "name") and value not in (None, [], {}, ""):
            raise Refusal(f"{name}.{key} must be left out, because the server knows texts only.", param=f"{name}.{key}")
    text, param = _text(message.get("content")), f"{name}.content"
    if text is None:
        rule = 'must be a text, or a list of {"type": "text", "text": ...}'
        raise Refusal(f"{param} {rule}. Got {received(message.get('content'))}.", param=param)
    for mark in TURN_MARKS:
        if mark in text:
            raise Refusal(f"{param} must not contain {mark}, which would forge a turn.", param=param)
    if chat.end_of_turn is None:
        if role not in SYSTEM and "\n" in text.strip():
            raise Refusal(f"{param} must be one line, because this model's turns are lines.", param=param)
        # An answer may begin with empty lines; its own line break is its end.
        text = text.removesuffix("\n")
    return role, text


def _text(content):
    if content is None:
        return ""
    if not isinstance(content, list):
        return content if is_text(content) else None
    parts: list[Any] = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
    return "".join(parts) if len(parts) == len(content) and all(map(is_text, parts)) else None
