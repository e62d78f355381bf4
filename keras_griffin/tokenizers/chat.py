"""The chat format of Gemma's instruction-tuned models.

    <start_of_turn>user
    Knock knock.<end_of_turn>
    <start_of_turn>model
    Who is there?<end_of_turn>

The prompt opens the model's turn, and the model ends it with `<end_of_turn>`. There is no system role: put instructions
into the first message. The start token `<bos>` is not part of the text, because `encode` adds it.
"""

from collections.abc import Sequence

from keras_griffin.tokenizers.contract import Tokenizer
from keras_griffin.tokenizers.special_tokens import END_OF_TURN, START_OF_TURN, TURN_MARKS

ROLES = ("user", "model")


def chat_prompt(turns: str | Sequence[tuple[str, str]]) -> str:
    """The prompt with which an instruction-tuned Gemma answers the last of some turns.

    White space around a message is stripped, as in the models' own template.

    Args:
        turns: one message of the user, or `(role, message)` for each turn so far; the roles "user" and "model"
            alternate, and the first and the last are the user's.

    Raises:
        ValueError: the roles are different; or a message contains `<start_of_turn>` or `<end_of_turn>`, which could
            forge a turn.

    Examples:
        >>> from keras_griffin.tokenizers import chat_prompt
        >>> chat_prompt("Knock knock.")
        '<start_of_turn>user\\nKnock knock.<end_of_turn>\\n<start_of_turn>model\\n'

    Reference: Gemma's documentation, "Gemma formatting and system instructions".
    """
    turns = [("user", turns)] if isinstance(turns, str) else list(turns)
    _check_roles("chat_prompt", turns, len(turns) % 2 == 1, "and begin and end with 'user'")
    return "".join(_turn("chat_prompt", role, message) for role, message in turns) + _opened("model")


def next_turn(message: str, *, ended: bool = True) -> str:
    """The text to read after the model's answer, so that the model answers again.

    Encode it with `start=False`, since it continues the conversation.

    Args:
        message: the user's next message.
        ended: whether the state has read the `<end_of_turn>` of the answer, as when `generate` stopped at it; False if
            the answer was cut short.

    Raises:
        ValueError: the message contains `<start_of_turn>` or `<end_of_turn>`.

    Examples:
        >>> from keras_griffin.tokenizers import next_turn
        >>> next_turn("Gemma.")
        '\\n<start_of_turn>user\\nGemma.<end_of_turn>\\n<start_of_turn>model\\n'
    """
    return ("" if ended else END_OF_TURN) + "\n" + _turn("next_turn", "user", message) + _opened("model")


def chat_tokens(tokenizer: Tokenizer, turns: Sequence[tuple[str, str]]) -> tuple[list[int], list[bool]]:
    """The token ids of a conversation, and which of them the model writes.

    They are the ids that `python -m keras_griffin chat` would have read and written. If the tokenizer has the turn
    markers as tokens, the model ends its turns with `<end_of_turn>`. Otherwise each message and each answer is a line.
    """
    is_answered = len(turns) > 0 and len(turns) % 2 == 0
    _check_roles("chat_tokens", turns, is_answered, "beginning with 'user' and ending with 'model'")
    chat = ChatFormat(tokenizer)
    token_ids: list[int] = []
    is_answer: list[bool] = []
    for index, (role, message) in enumerate(turns):
        if not message.strip():
            raise ValueError(f"chat_tokens: a message must not be empty. Got {message!r} from {role!r}.")
        _check_marks("chat_tokens", role, message)
        if chat.end_of_turn is None and "\n" in message.strip():
            raise ValueError(
                "chat_tokens: a message must be one line if the tokenizer has no turn markers. "
                f"Got {message!r} from {role!r}."
            )
        is_first, message = not index, message.strip()
        part = chat.answer(message) if role == "model" else chat.question(message, is_first=is_first)
        token_ids += part
        is_answer += [role == "model"] * len(part)
    return token_ids, is_answer


class ChatFormat:
    """The tokens of a conversation's turns, each by itself, so that the tokens of a turn begin with those before it.

    If the tokenizer has Gemma's turn markers, they enclose each turn, and the model ends its own. Otherwise a message
    is a line, and the answer ends with the first non-empty line that the model writes.
    """

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer = tokenizer
        #: The id of `<end_of_turn>`; None if turns are lines.
        self.end_of_turn = find_end_of_turn(tokenizer)

    @property
    def end(self) -> list[int]:
        """What ends an answer: its marker, or its line break."""
        return self.tokenizer.encode("\n", start=False) if self.end_of_turn is None else [self.end_of_turn]

    def system(self, text: str) -> list[int]:
        """Instructions before the first question: the beginning of its turn, or a line."""
        text = text.strip()
        return self.tokenizer.encode(
            f"{text}\n" if self.end_of_turn is None else f"{_opened('user')}{text}\n\n", start=True
        )

    def question(
        self, message: str, *, is_first: bool = False, is_ended: bool = True, is_opened: bool = False
    ) -> list[int]:
        """The user's message, and the opening of the model's turn.

        `is_ended` says whether the answer before it has its `end`, and `is_opened` that `system` stands before it.
        """
        if self.end_of_turn is None:
            text = f"{message}\n"
            text = text if is_first or is_ended else f"\n{text}"
        elif is_opened:
            text = f"{message.strip()}{END_OF_TURN}\n{_opened('model')}"
        else:
            text = chat_prompt(message) if is_first else next_turn(message, ended=is_ended)
        return self.tokenizer.encode(text, start=is_first)

    def answer(self, message: str) -> list[int]:
        """The model's message as it wrote it, and its end."""
        return self.tokenizer.encode(message, start=False) + self.end


def find_end_of_turn(tokenizer: Tokenizer) -> int | None:
    """The id of `<end_of_turn>`, if the tokenizer has both turn markers as tokens without text."""
    marks = [tokenizer.encode(mark, start=False) for mark in TURN_MARKS]
    if any(len(ids) != 1 or tokenizer.token_bytes(ids[0]) for ids in marks):
        return None
    (start,), (end,) = marks
    # A tokenizer may have one id for everything unknown.
    return None if start == end else end


def _check_roles(function, turns, fits, ends):
    roles = [role for role, _ in turns]
    if not fits or roles != [ROLES[index % 2] for index in range(len(roles))]:
        raise ValueError(
            f"{function}: the roles must alternate between 'user' and 'model', {ends}. "
            f"Got {', '.join(map(repr, roles)) or 'none'}."
        )


def _check_marks(function, role, message):
    for mark in TURN_MARKS:
        if mark in message:
            raise ValueError(f"{function}: a message must not contain {mark}. Got {message!r} from {role!r}.")


def _turn(function, role, message):
    _check_marks(function, role, message)
    return f"{_opened(role)}{message.strip()}{END_OF_TURN}\n"


def _opened(role):
    return f"{START_OF_TURN}{role}\n"
