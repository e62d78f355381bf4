"""One thread owns the model: it reads prompts in pieces, and steps all answers at once, token by token."""

import collections
import threading
import time
from typing import NamedTuple

from keras_griffin.generation.state import fitted
from keras_griffin.serving.engine.answer import Answer
from keras_griffin.serving.engine.batch import Batch
from keras_griffin.serving.engine.job import Failed, Job, Read
from keras_griffin.serving.engine.kept_states import KeptStates
from keras_griffin.serving.engine.prompts import read_on
from keras_griffin.serving.engine.reading import Reading
from keras_griffin.serving.engine.rows import Rows
from keras_griffin.serving.engine.steps import preparing


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


class Engine:
    """Continues prompts for many callers at once; what one gets does not depend on the others.

    But for rounding: a product with another number of rows may choose the other of two tokens that float32 does not
    tell apart.

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
        #: Guarded by `_changed`, as are the jobs that have not ended.
        self._arrived: collections.deque[Reading] = collections.deque()
        self._jobs: set[Job] = set()
        self._is_closing = False
        #: The engine's thread alone reads and writes what follows.
        self._readings: list[Reading] = []
        self._batch = Batch(self._prepare, self._rows, self._kept)
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
            ValueError: the jobs' state is not one of this model, or there are more jobs than slots.
            Full: too many jobs wait, or the engine is closing.
        """
        if len(jobs) > self.slots:
            raise ValueError(f"serve: the jobs of one prompt must be at most the {self.slots} slots. Got {len(jobs)}.")
        state = self._initial if jobs[0].state is None else fitted("serve", jobs[0].state, self._initial)
        reading = Reading(jobs, state, self.kept_every)
        with self._changed:
            if self._is_closing or len(self._jobs) + len(jobs) > self.slots + self.most_waiting:
                raise Full(f"the queue must have room. Got {len(self._jobs)} jobs")
            self._jobs.update(jobs)
            self._arrived.append(reading)
            self._changed.notify()

    def cancel(self, job: Job) -> None:
        """Free the job's slot before the next step; it has no further event."""
        job.is_cancelled = True

    def seconds_to_wait(self) -> float:
        """About how long until a slot is free for one more job."""
        return max(1.0, self._seconds * max(0, len(self._jobs) - self.slots) / self.slots)

    def measure(self) -> Measures:
        """The numbers of now."""
        running = len(self._batch.live)
        kept = len(self._kept), self._kept.num_bytes
        tokens = self._read, self._found, self._written
        return Measures(running, max(0, len(self._jobs) - running), self.slots, *kept, *tokens)

    def _run(self):
        try:
            while self._has_work():
                self._turn()
        finally:
            # After a fault too: nobody is to wait for an answer that will not come.
            with self._changed:
                self._is_closing = True
                left = [*self._jobs]
            for job in left:
                job.deliver(Failed("The engine has stopped; the server must be started again."))

    def _has_work(self):
        """Wait for a job; False when there is none, and there will be none."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._is_closing)
            return bool(self._jobs)

    def _turn(self):
        self._drop()
        self._admit()
        if self._readings:
            self._read_prompts()
        if live := self._batch.live:
            self._written += len(live)
            self._end(self._batch.step())

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
                    self._ended([job])
        with self._changed:
            self._arrived = collections.deque(reading for reading in self._arrived if reading.jobs)
        self._readings = [reading for reading in self._readings if reading.jobs]
        for place, answer in self._batch.live:
            if answer.job.is_cancelled:
                self._batch.drop(place)
                self._ended([answer.job])
        if not self._batch.live:
            self._batch.rearrange()

    def _ended(self, jobs):
        with self._changed:
            self._jobs.difference_update(jobs)

    def _admit(self):
        """Begin to read prompts for which there are slots."""
        taken = len(self._batch.live) + sum(len(each.jobs) for each in self._readings)
        with self._changed:
            while self._arrived and taken + len(self._arrived[0].jobs) <= self.slots:
                reading = self._arrived.popleft()
                taken += len(reading.jobs)
                self._readings.append(reading)
                reading.continue_from(self._kept)
                self._found += reading.found

    def _read_prompts(self):
        """Read on; those that are read become answers."""
        waiting = [reading for reading in self._readings if not reading.is_done]
        if waiting:
            self._read += read_on(self.model, self._prepare, self._rows, self._kept, waiting)
            # One that is scored is read alone, and lets the others go first next time.
            self._readings.sort(key=lambda reading: reading is waiting[0] and reading.is_scored)
        done = [reading for reading in self._readings if reading.is_done]
        self._readings = [reading for reading in self._readings if not reading.is_done]
        answers, states = [], []
        for reading in done:
            for job in reading.jobs:
                job.deliver(Read(reading.found, tuple(reading.scores)))
                answer = Answer(job, reading, self.model.tokenizer)
                if job.most_tokens:
                    answers.append(answer)
                    states.append(reading.state)
                else:
                    self._ended([job])
                    answer.end("length", reading.state)
        if answers:
            self._batch.rearrange(answers, states)

    def _end(self, answers):
        """Count jobs that have ended, and the time that they took."""
        for answer in answers:
            self._seconds += 0.1 * (time.monotonic() - answer.begun - self._seconds)
        self._ended([answer.job for answer in answers])
