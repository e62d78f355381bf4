"""What a request asks of the engine, and what it gets back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from keras_griffin.generation.state import LanguageModelState


class Scored(NamedTuple):
    """A token's log-probability before temperature and top_p, and the likeliest tokens' beside it, the best first.

    Of the prompt's first token, which nothing predicts, `logprob` is None and `top` empty.
    """

    token_id: int
    logprob: float | None
    top: tuple[tuple[int, float], ...]


class Read(NamedTuple):
    """The prompt has been read: of its tokens so many were found in a kept state; the others, if that was asked."""

    found: int
    scored: tuple[Scored, ...] = ()


class Token(NamedTuple):
    """One more token, and the text that is certain after it: whole characters, and no beginning of a stop string."""

    token_id: int
    text: str
    scored: Scored | None = None


class Ended(NamedTuple):
    """The answer is whole: the rest of its text, and why it ended, `"stop"` or `"length"`."""

    text: str
    reason: str
    state: LanguageModelState | None = None


class Failed(NamedTuple):
    """It could not be answered: a sentence for the client, and its HTTP status."""

    message: str
    status: int = 500


Event = Read | Token | Ended | Failed


@dataclass(eq=False)
class Job:
    """One continuation of one prompt.

    Attributes:
        segments: the prompt's tokens; the state after each segment is kept.
        most_tokens: how many to generate at most; 0 reads the prompt alone.
        deliver: is called in the engine's thread with each event, in order; `Ended` or `Failed` is the last.
        temperature: 0 takes the likeliest token.
        top_p: as in `TopP`; 1 keeps all.
        seed, index: the random numbers are those of row `index` of `generate(..., seed=seed)`.
        stop_ids: the answer ends at one of these, which it keeps as a token, without text.
        stop_strings: the answer's text ends before one of these.
        is_line: the answer ends with its first line that is not empty.
        top_logprobs: how many of the likeliest tokens to report at each; None for no log-probabilities.
        scores_prompt: report those of the prompt's tokens too, which are then all read.
        state: the one that the prompt continues; None to begin anew, or from what is kept.
        returns_state: hand it out at the end.
        seconds: after so long the answer ends, with the reason "length"; if none has begun, it has `Failed`.
    """

    segments: Sequence[np.ndarray]
    most_tokens: int
    deliver: Callable[[Event], None]
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int = 0
    index: int = 0
    stop_ids: frozenset[int] = frozenset()
    stop_strings: tuple[str, ...] = ()
    is_line: bool = False
    top_logprobs: int | None = None
    scores_prompt: bool = False
    state: LanguageModelState | None = None
    returns_state: bool = False
    seconds: float = float("inf")
    is_cancelled: bool = field(default=False, init=False)

    @property
    def token_ids(self) -> np.ndarray:
        """The whole prompt."""
        return np.concatenate([np.zeros(0, "int32"), *self.segments]).astype("int32")
