"""An answer that is being written."""

import time

import numpy as np

from keras_griffin.generation.uniform import uniform_row
from keras_griffin.serving.engine.job import Ended, Job, Scored, Token
from keras_griffin.serving.engine.kept_states import keys
from keras_griffin.serving.engine.reading import Reading
from keras_griffin.serving.engine.text import AnswerText
from keras_griffin.tokenizers import Tokenizer


class Answer:
    """One row of the running batch: its job, and its tokens so far."""

    def __init__(self, job: Job, reading: Reading, tokenizer: Tokenizer):
        self.job = job
        self.prompt, self.token_ids = reading.token_ids, list[int]()
        self.seen_before = reading.seen
        self.begun = reading.begun
        self._numbers = uniform_row(job.seed, job.index)
        is_first = job.state is None and not any(map(tokenizer.token_bytes, reading.token_ids.tolist()))
        self._text = AnswerText(tokenizer, job.stop_strings, job.is_line, is_first=is_first)

    @property
    def seen(self) -> int:
        """How many tokens the row's state holds."""
        return self.seen_before + len(self.token_ids)

    @property
    def key(self) -> tuple[int, bytes] | None:
        """The key of the row's state; None if that continues a client's."""
        if self.job.state is not None:
            return None
        token_ids = np.concatenate([self.prompt, np.array(self.token_ids, "int32")])
        (key,) = keys(token_ids, [len(token_ids)])
        return key

    def draw(self) -> float:
        """The random number of the next token."""
        return self._numbers.random(dtype="float32") if self.job.temperature else 0.0

    def push(self, token_id: int, scored: Scored | None) -> str | None:
        """Deliver a token; why the answer ends with it, if it does."""
        self.token_ids.append(token_id)
        text, is_ended = ("", True) if token_id in self.job.stop_ids else self._text.push(token_id)
        self.job.deliver(Token(token_id, text, scored))
        if is_ended:
            return "stop"
        is_last = len(self.token_ids) == self.job.most_tokens or time.monotonic() > self.begun + self.job.seconds
        return "length" if is_last else None

    def end(self, reason: str, state) -> None:
        """Deliver the rest."""
        self.job.deliver(Ended(self._text.flush(), reason, state if self.job.returns_state else None))
