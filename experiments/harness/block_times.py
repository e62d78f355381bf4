"""Seconds of the blocks of tokens that `generate` makes, without compilation, and the bandwidth of memory."""

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from keras_griffin.generation.generate import Continuation
from keras_griffin.generation.loop import decode
from keras_griffin.generation.state import LanguageModelState
from keras_griffin.models import LanguageModel


def block_seconds(model: LanguageModel, state: LanguageModelState, number: int, block: int) -> list[float]:
    """The seconds of each block of tokens that `generate` makes from a state.

    Args:
        model: to sample from.
        state: of the rows; it stays valid.
        number: of blocks.
        block: tokens of each row.
    """
    blocks = continuation(model, state, number * block).blocks(block)
    times = [time.perf_counter()]
    for _ in blocks:
        times.append(time.perf_counter())
    return [float(seconds) for seconds in np.diff(times)]


def compile_blocks(model: LanguageModel, state: LanguageModelState, number: int, block: int) -> list[int]:
    """Compile the programs of all blocks, without running them on a backend that compiles.

    The state of global attention grows by empty places, and each size has its own program, which computes with the
    empty places too.

    Args:
        model: to sample from.
        state: of the rows; it stays valid.
        number: of blocks.
        block: tokens of each row.

    Returns:
        The bytes of the state in each block: where they are equal, so is the work.
    """
    own = continuation(model, state, number * block)
    # Rows that have ended take no step.
    ended, uniform, sizes = np.zeros(state.num_rows, bool), np.zeros((block, state.num_rows), "float32"), []
    for _ in range(number):
        own.make_places(block)
        own.free_places -= block
        sizes.append(own.working_state.num_bytes)
        own.working_state = decode(model, own.sampler, own.working_state, ended, uniform, block, own.stop_ids)[1]
    return sizes


def continuation(model: LanguageModel, state: LanguageModelState, tokens: int) -> Continuation:
    """What `generate` makes blocks with, greedily, from a state."""
    return Continuation("sampling", model, state.num_rows * [[]], tokens, "greedy", 0, (), state)


def fastest_blocks(passes: np.ndarray, work: Sequence[int]) -> np.ndarray:
    """For each block the seconds of the fastest, in any pass, that does the same work.

    Args:
        passes: `(P, N)`, seconds of each block.
        work: N numbers.
    """
    least = {each: passes[:, np.array(work) == each].min() for each in set(work)}
    return np.array([least[each] for each in work])


def bytes_per_second(num_bytes: int) -> float:
    """The bandwidth at which all cores together read so many bytes, at best of ten times."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parts = np.array_split(np.ones(num_bytes // 4, "float32"), cores)
    with ThreadPoolExecutor(cores) as pool:
        times = []
        for _ in range(10):
            start = time.perf_counter()
            list(pool.map(lambda part: part @ part, parts))
            times.append(time.perf_counter() - start)
    return num_bytes / min(times)
