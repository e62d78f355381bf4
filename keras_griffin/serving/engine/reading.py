"""A prompt that is being read."""

import time
from collections.abc import Sequence

import numpy as np

from keras_griffin.generation.state import LanguageModelState
from keras_griffin.serving.engine.job import Job, Scored
from keras_griffin.serving.engine.kept_states import KeptStates, keys
from keras_griffin.serving.engine.rows import capacity

#: After how many of the last segments the state is always kept, and how many tokens apart after the others.
LAST, APART = 8, 32


class Reading:
    """The prompt of some jobs, which differ in their sampling alone, and the state after what was read of it.

    Args:
        jobs: with one prompt.
        initial_state: of one row; or that of the jobs.
        kept_every: the state is kept after each so many tokens, and after segments: the last ones, and earlier ones
            that lie apart.
    """

    def __init__(self, jobs: Sequence[Job], initial_state: LanguageModelState, kept_every: int):
        self.jobs = list(jobs)
        self.state = initial_state
        self.token_ids = jobs[0].token_ids
        self.is_scored = any(job.scores_prompt for job in jobs)
        #: Tokens of the state, those of the prompt, and those of them that were found in a kept state.
        self.seen_before = capacity(initial_state)
        self.read = self.found = 0
        self.scores: list[Scored] = []
        ends = _apart(np.cumsum([len(segment) for segment in jobs[0].segments]).tolist())
        every = range(kept_every, len(self.token_ids), kept_every)
        self._cuts = sorted({len(self.token_ids), *ends, *every} - {0})
        self._keys = dict(keys(self.token_ids, self._cuts))
        self.begun = time.monotonic()

    @property
    def is_done(self) -> bool:
        return self.read == len(self.token_ids)

    @property
    def seen(self) -> int:
        """How many tokens the state holds."""
        return self.seen_before + self.read

    def continue_from(self, kept: KeptStates) -> None:
        """Begin with the state that is kept for the longest part of the prompt."""
        if self._is_kept and not self.is_scored:
            self.found, state = kept.longest(self.token_ids)
            if state is not None:
                self.read, self.state = self.found, state

    def piece(self, most: int) -> np.ndarray:
        """The next tokens, up to where the state is kept, and not more than so many."""
        end = next(cut for cut in self._cuts if cut > self.read)
        return self.token_ids[self.read : min(end, self.read + most)]

    def went_on(self, count: int, state: LanguageModelState, kept: KeptStates) -> None:
        """Note the state after so many more tokens."""
        self.read += count
        self.state = state
        if self._is_kept and self.read in self._keys:
            kept.keep((self.read, self._keys[self.read]), state)

    @property
    def _is_kept(self):
        """Whether the state has read the prompt alone."""
        return self.jobs[0].state is None


def _apart(ends):
    """The last ends of segments, and of the others those not near the one before: each is a call, and a state."""
    chosen = [0]
    for end in ends[:-LAST]:
        if end >= chosen[-1] + APART:
            chosen.append(end)
    return chosen + ends[-LAST:]
