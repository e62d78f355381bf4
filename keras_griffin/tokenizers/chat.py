"""The talk that Gemma's instruction-tuned models were trained to lead.

    <start_of_turn>user
    Knock knock.<end_of_turn>
    <start_of_turn>model
    Who is there?<end_of_turn>

The model's turn is opened by the prompt and ended by the model itself, with `<end_of_turn>`. There are no other roles:
instructions stand in the first message. The start token `<bos>` is not written here, because `encode` puts it first.
"""

from collections.abc import Sequence

from keras_griffin.tokenizers.contract import Tokenizer
from keras_griffin.tokenizers.special_tokens import END_OF_TURN, START_OF_TURN, TURN_MARKS

ROLES = ("user", "model")


def chat_prompt(turns: str | Sequence[tuple[str, str]]) -> str:
    """The text from which an instruction-tuned Gemma answers the last of some turns.

    White space around a message is left out, as in the template that comes with the models.

    Args:
        turns: one message of the user, or `(role, message)` for each turn so far; the roles are "user" and "model" by
            turns, and the first and the last are the user's.

    Raises:
        ValueError: the roles are not so; or a message holds `<start_of_turn>` or `<end_of_turn>`, with which it could
            speak in another's name.

    Examples:
        >>> from keras_griffin.tokenizers import chat_prompt
        >>> chat_prompt("Knock knock.")
        '<start_of_turn>user\\nKnock knock.<end_of_turn>\\n<start_of_turn>model\\n'

    Reference: Gemma's documentation, "Gemma formatting and system instructions".
    """
    turns = [("user", turns)] if isinstance(turns, str) else list(turns)
    roles = [role for role, _ in turns]
    if len(turns) % 2 == 0 or roles != [ROLES[index % 2] for index in range(len(turns))]:
        raise ValueError(
            "chat_prompt: the roles must be 'user' and 'model' by turns, and the first and the last 'user'. "
            f"Got {', '.join(map(repr, roles)) or 'none'}."
        )
    return "".join(_turn("chat_prompt", role, message) for role, message in turns) + _opened("model")


def next_turn(message: str, *, ended: bool = True) -> str:
    """What a state reads after the model's answer, so that the model answers once more.

    Encode it with `start=False`: the talk goes on where it was.

    Args:
        message: the user's next.
        ended: whether the state has read the `<end_of_turn>` of the answer, as after `generate` has met it; False where
            the answer was cut.

    Raises:
        ValueError: the message holds `<start_of_turn>` or `<end_of_turn>`.

    Examples:
        >>> from keras_griffin.tokenizers import next_turn
        >>> next_turn("Gemma.")
        '\\n<start_of_turn>user\\nGemma.<end_of_turn>\\n<start_of_turn>model\\n'
    """
    return ("" if ended else END_OF_TURN) + "\n" + _turn("next_turn", "user", message) + _opened("model")


def chat_tokens(tokenizer: Tokenizer, turns: Sequence[tuple[str, str]]) -> tuple[list[int], list[bool]]:
    """The token ids of a talk, and which of them the model is to write.

    They are what `python -m keras_griffin chat` would have read and written. Where the tokenizer has the marks of turns
    as tokens, the model ends its own with `<end_of_turn>`. Otherwise a message is a line, and so is an answer.

    Args:
        tokenizer: see `keras_griffin.tokenizers`.
        turns: `(role, message)` for each turn; the roles are "user" and "model" by turns, the first is the user's and
            the last the model's.

    Raises:
        ValueError: the roles are not so; a message is empty, holds a mark of turns or, where the tokenizer has none, a
            line break; or the tokenizer does not take it.

    Examples:
        >>> from keras_griffin.tokenizers import ByteTokenizer, chat_tokens
        >>> token_ids, is_answer = chat_tokens(ByteTokenizer(), [("user", "Knock knock."), ("model", "Who is there?")])
        >>> bytes(token for token, answered in zip(token_ids, is_answer) if answered)
        b'Who is there?\\n'
    """
    roles = [role for role, _ in turns]
    if not roles or len(roles) % 2 or roles != [ROLES[index % 2] for index in range(len(roles))]:
        raise ValueError(
            "chat_tokens: the roles must be 'user' and 'model' by turns, the first 'user' and the last 'model'. "
            f"Got {', '.join(map(repr, roles)) or 'none'}."
        )
    end_of_turn = find_end_of_turn(tokenizer)
    token_ids: list[int] = []
    is_answer: list[bool] = []
    for index, (role, message) in enumerate(turns):
        _check_message("chat_tokens", role, message, is_line=end_of_turn is None)
        if role == "model":
            end = tokenizer.encode("\n", start=False) if end_of_turn is None else [end_of_turn]
            part = tokenizer.encode(message.strip(), start=False) + end
        elif end_of_turn is None:
            part = tokenizer.encode(message.strip() + "\n", start=not index)
        else:
            text = next_turn(message) if index else chat_prompt(message)
            part = tokenizer.encode(text, start=not index)
        token_ids += part
        is_answer += [role == "model"] * len(part)
    return token_ids, is_answer


def find_end_of_turn(tokenizer: Tokenizer) -> int | None:
    """The id of `<end_of_turn>`, if the tokenizer has both marks of turns as tokens, which write nothing."""
    marks = [tokenizer.encode(mark, start=False) for mark in TURN_MARKS]
    if any(len(ids) != 1 or tokenizer.token_bytes(ids[0]) for ids in marks):
        return None
    (start,), (end,) = marks
    # A tokenizer may have one id for all that it does not know.
    return None if start == end else end


def _check_message(function, role, message, is_line):
    if not message.strip():
        raise ValueError(f"{function}: a message must not be empty. Got {message!r} from {role!r}.")
    for mark in TURN_MARKS:
        if mark in message:
            raise ValueError(f"{function}: a message must not hold {mark}. Got {message!r} from {role!r}.")
    if is_line and "\n" in message.strip():
        raise ValueError(
            f"{function}: a message must be one line where the tokenizer has no marks of turns. "
            f"Got {message!r} from {role!r}."
        )


def _turn(function, role, message):
    for mark in TURN_MARKS:
        if mark in message:
            raise ValueError(f"{function}: a message must not hold {mark}. Got {message!r} from {role!r}.")
    return f"{_opened(role)}{message.strip()}{END_OF_TURN}\n"


def _opened(role):
    return f"{START_OF_TURN}{role}\n"
