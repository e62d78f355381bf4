"""One thread owns the model: it reads prompts in pieces, and steps all answers at once, token by token."""

import collections
import threading
import time
from typing import NamedTuple

import numpy as np

from keras_griffin.generation.compilers.compile import compiles
from keras_griffin.generation.loop import consume
from keras_griffin.generation.state import fitted
from keras_griffin.serving.answer import Answer
from keras_griffin.serving.job import Failed, Job, Read
from keras_griffin.serving.kept_states import KeptStates
from keras_griffin.serving.reading import Reading
from keras_griffin.serving.rows import Rows
from keras_griffin.serving.steps import preparing, score, scored, step

#: How many tokens of a prompt, and of all prompts together, are read between two steps of the answers.
PIECE = 128
MOST_READ = 1024
#: The lengths and numbers of rows for which a backend that compiles reads prompts.
LENGTHS = (8, 32, PIECE)
ROWS = (1, 4, 16, 64)


class Full(Exception):
    """So many jobs wait that no more are taken."""


class Measures(NamedTuple):
    """Numbers of jobs, rows, states, and tokens since the start."""

    running: int
    waiting: int
    slots: int
    kept_states: int
    kept_bytes: int
    tokens_read: int
    tokens_found: int
    tokens_written: int
    #: Of one row.
    state_bytes: int


class Engine:
    """Continues prompts for many callers at once; what one gets does not depend on the others.

    Args:
        model: a `LanguageModel` with a tokenizer.
        slots: how many answers are written at once.
        kept_bytes: of all states that are kept for later prompts with the same beginning.
        kept_every: states are kept after each so many tokens of a prompt, beside those after its segments and answers.
        most_waiting: how many jobs may wait for a slot.
    """

    def __init__(self, model, *, slots=64, kept_bytes=1 << 28, kept_every=256, most_waiting=256):
        self.model, self.slots, self.kept_every, self.most_waiting = model, slots, kept_every, most_waiting
        self._kept = KeptStates(kept_bytes)
        self._initial = model.initial_state(1)
        self._prepare = preparing(model)
        self._rows = Rows(self._prepare, self._initial)
        self._changed = threading.Condition()
        #: Guarded by `_changed`, as is the number of jobs that have not ended.
        self._arrived: collections.deque[Reading] = collections.deque()
        self._alive, self._is_closing = 0, False
        #: The engine's thread alone reads and writes what follows.
        self._readings: list[Reading] = []
        self._answers: list[Answer | None] = []
        self._state = None
        self._read = self._found = self._written = 0
        self._seconds = 1.0
        self._thread = threading.Thread(target=self._run, name="keras_griffin.serving", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def close(self) -> None:
        """Take no more jobs, and return when all that were taken have ended."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join()

    @property
    def is_alive(self) -> bool:
        """Whether it works."""
        return self._thread.is_alive()

    def submit(self, jobs: list[Job]) -> None:
        """Take jobs with one prompt, which differ in their sampling alone, or raise `Full`.

        Raises:
            ValueError: the jobs' state is not one of this model.
            Full: too many jobs wait, or the engine is closing.
        """
        state = self._initial if jobs[0].state is None else fitted("serve", jobs[0].state, self._initial)
        reading = Reading(jobs, state, self.kept_every)
        with self._changed:
            if self._is_closing or self._alive + len(jobs) > self.slots + self.most_waiting:
                raise Full(f"the queue must have room. Got {self._alive} jobs")
            self._alive += len(jobs)
            self._arrived.append(reading)
            self._changed.notify()

    def cancel(self, job: Job) -> None:
        """Free the job's slot before the next step; it has no further event."""
        job.is_cancelled = True

    def seconds_to_wait(self) -> float:
        """About how long until a slot is free for one more job."""
        return max(1.0, self._seconds * max(0, self._alive - self.slots) / self.slots)

    def measure(self) -> Measures:
        """The numbers of now."""
        running = sum(answer is not None for answer in self._answers)
        kept = len(self._kept), self._kept.num_bytes
        tokens = self._read, self._found, self._written
        return Measures(running, self._alive - running, self.slots, *kept, *tokens, self._initial.num_bytes)

    def _run(self):
        try:
            while self._has_work():
                self._turn()
        finally:
            # After a fault too: nobody is to wait for an answer that will not come.
            with self._changed:
                self._is_closing = True
            left = [job for reading in (*self._arrived, *self._readings) for job in reading.jobs]
            left += [answer.job for answer in self._answers if answer is not None]
            for job in left:
                job.deliver(Failed("The engine has stopped; the server must be started again."))

    def _has_work(self):
        """Wait for a job; False when there is none, and there will be none."""
        with self._changed:
            self._changed.wait_for(lambda: self._alive or self._is_closing)
            return bool(self._alive)

    def _turn(self):
        self._drop()
        self._admit()
        if self._readings:
            self._read_on()
        if any(self._answers):
            self._step()

    def _drop(self):
        """Forget jobs that were cancelled or have waited too long."""
        now = time.monotonic()
        with self._changed:
            readings = [*self._arrived, *self._readings]
        for reading in readings:
            for job in [*reading.jobs]:
                is_late = now > reading.begun + job.seconds
                if is_late and not job.is_cancelled:
                    job.deliver(Failed(f"No answer had begun after {job.seconds:g} s, the limit.", 504))
                if is_late or job.is_cancelled:
                    reading.jobs.remove(job)
                    self._ended(1)
        with self._changed:
            self._arrived = collections.deque(reading for reading in self._arrived if reading.jobs)
        self._readings = [reading for reading in self._readings if reading.jobs]
        for place, answer in enumerate(self._answers):
            if answer is not None and answer.job.is_cancelled:
                self._answers[place] = None
                self._ended(1)

    def _ended(self, count):
        with self._changed:
            self._alive -= count

    def _admit(self):
        """Begin to read prompts for which there are slots."""
        taken = sum(answer is not None for answer in self._answers) + sum(len(each.jobs) for each in self._readings)
        with self._changed:
            while self._arrived and taken + len(self._arrived[0].jobs) <= self.slots:
                reading = self._arrived.popleft()
                taken += len(reading.jobs)
                self._readings.append(reading)
                reading.continue_from(self._kept)
                self._found += reading.found

    def _read_on(self):
        """Read a piece of each prompt, or of the first alone if it is scored; those that are read become answers."""
        if self._readings[0].is_scored:
            self._read_scored(self._readings[0])
        else:
            self._read_pieces([reading for reading in self._readings if not (reading.is_scored or reading.is_done)])
        done = [reading for reading in self._readings if reading.is_done]
        self._readings = [reading for reading in self._readings if not reading.is_done]
        new = []
        for reading in done:
            for job in reading.jobs:
                job.deliver(Read(reading.found, tuple(reading.scores)))
                answer = Answer(job, reading, self.model.tokenizer)
                if job.most_tokens:
                    new.append((answer, reading.state))
                else:
                    answer.end("length", reading.state)
                    self._ended(1)
        if new:
            self._rearrange([answer for answer, _ in new], [state for _, state in new])

    def _read_pieces(self, readings):
        pieces: list[np.ndarray] = []
        for reading in readings[: ROWS[-1]]:
            piece = reading.piece(PIECE)
            # Each row is as long as the longest.
            if pieces and (len(pieces) + 1) * max(map(len, [*pieces, piece])) > MOST_READ:
                break
            pieces.append(piece)
        readings = readings[: len(pieces)]
        if not pieces:
            return
        token_ids, mask = aligned(pieces)
        state = self._rows.joined([reading.state for reading in readings], len(token_ids))
        state = self._rows.with_places(state, max(reading.seen for reading in readings), token_ids.shape[1])
        state = consume(self.model, state, token_ids, mask)
        for place, (reading, piece) in enumerate(zip(readings, pieces, strict=True)):
            state, alone = self._rows.taken(state, place, reading.seen + len(piece))
            reading.went_on(len(piece), alone, self._kept)
            self._read += len(piece)

    def _read_scored(self, reading):
        if reading.is_done:
            return
        piece = reading.piece(PIECE)
        token_ids, mask = aligned([piece])
        state = self._rows.joined([reading.state], len(token_ids))
        state = self._rows.with_places(state, reading.seen, token_ids.shape[1])
        scores, state = score(self._prepare, state, token_ids, mask)
        top = max(job.top_logprobs or 0 for job in reading.jobs)
        start = token_ids.shape[1] - len(piece)
        for place, token_id in enumerate(piece.tolist()):
            found = scored(token_id, scores, (0, start + place), top)
            is_predicted = reading.scores or reading.jobs[0].state is not None
            reading.scores.append(found if is_predicted else found._replace(logprob=None, top=()))
        _, alone = self._rows.taken(state, 0, reading.seen + len(piece))
        reading.went_on(len(piece), alone, self._kept)
        self._read += len(piece)

    def _rearrange(self, answers=(), states=()):
        """The live rows, and new ones, in a batch of a power of two."""
        live = [place for place, answer in enumerate(self._answers) if answer is not None]
        kept = [self._answers[place] for place in live]
        if kept:
            seen = max(answer.seen for answer in kept)
            states = [self._rows.trimmed(self._state.select(live), seen), *states]
        self._answers = [*kept, *answers]
        count = _power_of_two(len(self._answers))
        self._state = self._rows.joined(states, count) if states else None
        self._answers += [None] * (count - len(self._answers))

    def _step(self):
        """One more token of each answer."""
        live = [(place, answer) for place, answer in enumerate(self._answers) if answer is not None]
        temperature, top_p, uniform = np.zeros((3, len(self._answers)), "float32")
        for place, answer in live:
            temperature[place], top_p[place], uniform[place] = answer.job.temperature, answer.job.top_p, answer.draw()
        is_scored = any(answer.job.top_logprobs is not None for _, answer in live)
        state = self._rows.with_places(self._state, max(answer.seen for _, answer in live), 1)
        ids, scores, self._state = step(self._prepare, state, temperature, top_p, uniform, is_scored)
        self._written += len(live)
        for place, answer in live:
            token_id, count = int(ids[place]), answer.job.top_logprobs
            found = None if count is None else scored(token_id, scores, (place,), count)
            reason = answer.push(token_id, found)
            if reason is not None:
                self._end(place, answer, reason)
        if _power_of_two(sum(answer is not None for answer in self._answers)) < len(self._answers):
            self._rearrange()

    def _end(self, place, answer, reason):
        self._state, state = self._rows.taken(self._state, place, answer.seen)
        if answer.key is not None:
            self._kept.keep(answer.key, state)
        self._answers[place] = None
        self._seconds += 0.1 * (time.monotonic() - answer.begun - self._seconds)
        self._ended(1)
        answer.end(reason, state)


def _power_of_two(count):
    """The least one that is not below the count; 0 for 0."""
    return 1 << (count - 1).bit_length() if count else 0


def aligned(pieces):
    """Pieces of prompts as rows `(B, T)`, aligned at their ends, and which places are tokens; copies fill the rows."""
    count, length = len(pieces), max(map(len, pieces))
    if compiles():
        count = next(size for size in ROWS if size >= count)
        length = next(size for size in LENGTHS if size >= length)
    pieces = pieces + pieces[-1:] * (count - len(pieces))
    token_ids = np.zeros((count, length), "int32")
    for place, piece in zip(token_ids, pieces, strict=True):
        place[length - len(piece) :] = piece
    mask = np.arange(length) >= length - np.array([[len(piece)] for piece in pieces])
    return token_ids, mask if compiles() or not mask.all() else None
