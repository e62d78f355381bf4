"""The answers that are being written, as the rows of one state."""

from collections.abc import Callable, Sequence

import numpy as np

from keras_griffin.generation.state import LanguageModelState
from keras_griffin.ops.shared.padding import power_of_two
from keras_griffin.serving.engine.answer import Answer
from keras_griffin.serving.engine.kept_states import KeptStates
from keras_griffin.serving.engine.rows import Rows
from keras_griffin.serving.engine.steps import scored, step


class Batch:
    """Answers that come and go at every token; a row that has none is computed all the same, and not looked at.

    Args:
        prepare: of the model; see `preparing`.
        rows: of its states.
        kept: gets the state after each answer.
    """

    def __init__(self, prepare: Callable, rows: Rows, kept: KeptStates):
        self._prepare, self._rows, self._kept = prepare, rows, kept
        self._answers: list[Answer | None] = []
        self._states: list[LanguageModelState] = []

    @property
    def live(self) -> list[tuple[int, Answer]]:
        """The answers, each with its row."""
        return [(place, answer) for place, answer in enumerate(self._answers) if answer is not None]

    def drop(self, place: int) -> None:
        """Forget the answer in that row."""
        self._answers[place] = None

    def rearrange(self, answers: Sequence[Answer] = (), states: Sequence[LanguageModelState] = ()) -> None:
        """The answers that there are, and new ones with their states, in as few rows as a power of two allows."""
        live, parts, places = self.live, [], []
        if live:
            parts, places = [*self._states], [place for place, _ in live]
        if answers:
            places += [len(self._answers) * bool(live) + place for place in range(len(answers))]
            parts.append(self._rows.joined([*states], power_of_two(len(answers))))
        answers = [*(answer for _, answer in live), *answers]
        self._answers, self._states = [*answers], []
        if places:
            count, seen = power_of_two(len(places)), max(answer.seen for answer in answers)
            self._states = [self._rows.chosen(parts, places + places[-1:] * (count - len(places)), seen)]
            self._answers += [None] * (count - len(places))

    def step(self) -> list[Answer]:
        """Write a token of each answer; those that have ended with it."""
        live = self.live
        temperature, top_p, uniform = np.zeros((3, len(self._answers)), "float32")
        for place, answer in live:
            temperature[place], top_p[place], uniform[place] = answer.job.temperature, answer.job.top_p, answer.draw()
        is_scored = any(answer.job.top_logprobs is not None for _, answer in live)
        (state,) = self._states
        state = self._rows.with_places(state, max(answer.seen for _, answer in live), 1)
        ids, scores, state = step(self._prepare, state, temperature, top_p, uniform, is_scored)
        ended = []
        for place, answer in live:
            token_id, count = int(ids[place]), answer.job.top_logprobs
            reason = answer.push(token_id, None if count is None else scored(token_id, scores, (place,), count))
            if reason is not None:
                state, alone = self._rows.taken(state, place, answer.seen)
                if answer.key is not None:
                    self._kept.keep(answer.key, alone)
                self.drop(place)
                answer.end(reason, alone)
                ended.append(answer)
        self._states = [state]
        if len(live) - len(ended) <= len(self._answers) // 2:
            self.rearrange()
        return ended
