"""Any number of threads may use one model: what they get is what one after another would get."""

import os
import signal
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest

from keras_griffin.generation import TopP, generate, prefill, score, stream
from keras_griffin.generation.compilers.compile import compiles
from keras_griffin.models import Griffin, GriffinConfig, LanguageModel, SequenceEncoder
from keras_griffin.testing.arrays import as_array

BACKEND = keras.backend.backend()
if BACKEND == "torch":
    import torch
THREADS = 8
#: Batches of one to three rows, of different lengths.
PROMPTS = [[[(7 * row + step + index) % 11 for step in range(1 + (index + row) % 5)] for row in range(1 + index % 3)]
           for index in range(10)]  # fmt: skip


def generated(model, prompt):
    return [row.tolist() for row in generate(model, prompt, 6, sampler=TopP(0.9), seed=1)]


def streamed(model, prompt):
    return [step.tolist() for step in stream(model, prompt, 6, sampler=TopP(0.9), seed=2, stop_ids=[3])]


def read(model, prompt):
    return np.round(as_array(prefill(model, prompt).last), 4).tolist()


def scored(model, prompt):
    return [np.round(row, 4).tolist() for row in score(model, prompt)]


@pytest.fixture
def impatient():
    """Threads take turns fifty times as often, so that what may go wrong between them does."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")  # PyTorch's own.
def test_eight_threads_get_what_one_gets(fake, impatient, monkeypatch):
    if BACKEND == "torch":
        # So that every thread comes where it is recorded.
        monkeypatch.setattr("keras_griffin.generation.compilers.torch_compile.RECORD_AFTER", 3)
    jobs = [(ask, prompt) for prompt in PROMPTS for ask in (generated, streamed, read, scored)]
    expected = [ask(fake, prompt) for ask, prompt in jobs]
    cold, start = type(fake)(), threading.Barrier(THREADS)

    def answers(thread):
        start.wait()
        # Each begins at another place.
        order = [(index + 5 * thread) % len(jobs) for index in range(len(jobs))]
        found = {index: jobs[index][0](cold, jobs[index][1]) for index in order[thread % 2 :: 2]}
        return all(answer == expected[index] for index, answer in found.items())

    for _ in ("cold", "warm"):
        with ThreadPoolExecutor(THREADS) as pool:
            assert all(pool.map(answers, range(THREADS)))


@pytest.mark.skipif(not compiles(), reason="nothing is compiled on this backend")
def test_threads_that_meet_a_shape_together_compile_it_once(fake, impatient):
    start = threading.Barrier(THREADS)

    def answer(_):
        start.wait()
        return generated(fake, [[1, 2, 3]])

    with ThreadPoolExecutor(THREADS) as pool:
        answers = list(pool.map(answer, range(THREADS)))
    assert answers == answers[:1] * THREADS
    assert fake.runs == 2, "one reading of the prompt and one loop"


def in_a_fork(act):
    """The exit code of a forked process that only acts; None if it did not end."""
    with warnings.catch_warnings():
        # JAX warns whoever forks.
        warnings.simplefilter("ignore", RuntimeWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        code = 1
        try:
            code = act()
        finally:
            os._exit(code)
    for _ in range(600):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows does not fork")
def test_a_forked_process_is_refused_instead_of_waiting_for_threads_that_it_lacks(fake):
    """All but those of NumPy would hang; PyTorch's with several threads, as on most machines."""
    rows, encoder = generated(fake, [[1, 2]]), SequenceEncoder(4)
    model, ids = Griffin(GriffinConfig(11, width=8, num_layers=1, num_heads=1, window=4)), np.ones((1, 2), "int32")
    state = model.initial_state(1)

    def refused(ask, name):
        try:
            ask()
        except RuntimeError as error:
            return str(error) == (
                f"{name}: a process must not compute if it was forked from one that did, because it lacks the threads "
                f"of {BACKEND}; start it by multiprocessing's 'spawn'. Got process {os.getpid()}, forked from "
                f"{os.getppid()}."
            )

    def act():
        if BACKEND == "numpy":
            return 0 if generated(fake, [[1, 2]]) == rows else 2
        if BACKEND == "torch":
            torch.set_num_threads(2)
        ways = [
            refused(lambda: generated(fake, [[1, 2]]), "generate"),
            refused(lambda: scored(fake, [[1, 2]]), "score"),
            refused(lambda: read(fake, [[1, 2]]), "prefill"),
            refused(lambda: encoder.step(None, None), "step"),
            refused(lambda: LanguageModel(None), "LanguageModel"),
            refused(lambda: model(ids), "Griffin"),
            refused(lambda: model.advance(ids, state), "advance"),
        ]
        if BACKEND == "torch":
            torch.set_num_threads(1)
            ways += [generated(fake, [[1, 2]]) == rows]
        return 0 if all(ways) else 2

    assert in_a_fork(act) == 0
