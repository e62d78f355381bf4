"""The measured cost of decoding: the time of a step and the bytes of the state, against the context."""

import time
from collections.abc import Iterable
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from keras_griffin.checks import COUNT, checked
from keras_griffin.generation.capacity import with_capacity
from keras_griffin.generation.loop import decode
from keras_griffin.generation.samplers import get_sampler
from keras_griffin.models.language_model import LanguageModel

#: Steps before anything is timed: JAX and TensorFlow compile in the first, PyTorch records a step after 32.
WARM_UP = 64


class DecodingMeasurement(NamedTuple):
    """The result of `measure_decoding`; its numbers have the names and units of `DecodeCost`."""

    #: B, rows decoded at once.
    batch_size: int
    #: `(n,)` int64: tokens that each row has read.
    contexts: np.ndarray
    #: `(n,)` float64: seconds of a step, one token for every row; the median of the runs.
    seconds_per_step: np.ndarray
    #: `(n,)` int64: bytes of the state of all rows.
    state_bytes: np.ndarray

    @property
    def tokens_per_second(self) -> np.ndarray:
        """`(n,)` float64: tokens per second, of all rows together."""
        return self.batch_size / self.seconds_per_step

    @property
    def cache_bytes(self) -> np.ndarray:
        """`(n,)` float64: the bytes of one row's state."""
        return self.state_bytes / self.batch_size


def measure_decoding(
    model: keras.Model, contexts: Iterable[int], batch_size: int = 1, *, steps: int = 32, runs: int = 9
) -> DecodingMeasurement:
    """Measure the time of a decoding step, and the bytes of the state, after contexts of several lengths.

    Random tokens are read by `prefill`. Then the loop of `generate`, compiled or recorded as always on the active
    backend, makes `steps` greedy tokens, several times from the same state. Times exclude compilation, and copying the
    state between runs.

    The times are those of this machine under its current load; the median ignores a few disturbed runs. `decode_cost`
    predicts them for any device. A state is larger than the cache that it counts: it includes each row's newest
    activation, a flag for each slot of an attention's cache, and space for the whole window from the first token on.

    Args:
        model: a `LanguageModel`.
        contexts: values of T, the tokens that each row has read, in any order; global attention reads them in time
            proportional to T^2.
        batch_size: B, rows decoded at once.
        steps: tokens in a run, for each row.
        runs: timed runs.

    Returns:
        A `DecodingMeasurement`: contexts in tokens, seconds a step, bytes of the state, as arrays.

    Raises:
        ValueError: the model is not a `LanguageModel`; there is no context; a number is not an integer of at least 1;
            or the backend is OpenVINO, which does not generate.
    """
    owner = "measure_decoding"
    if not isinstance(model, LanguageModel):
        raise ValueError(f"{owner}: the model must be a LanguageModel. Got {model!r}.")
    try:
        given = list(contexts)
    except TypeError as error:
        raise ValueError(f"{owner}: contexts must be a list of integers. Got {contexts!r}.") from error
    if not given:
        raise ValueError(f"{owner}: there must be at least one context. Got none.")
    lengths = [checked(owner, COUNT, context=context) for context in given]
    batch_size = checked(owner, COUNT, batch_size=batch_size)
    steps, runs = checked(owner, COUNT, steps=steps), checked(owner, COUNT, runs=runs)

    token_ids = np.random.default_rng(0).integers(model.config.vocabulary_size, size=(batch_size, max(lengths)))
    seconds, state_bytes = [], []
    for length in lengths:
        state = model.prefill(token_ids[:, :length])
        state_bytes.append(state.num_bytes)
        state = with_capacity(state, steps)
        for _ in range(-(-WARM_UP // steps)):
            _seconds(model, state, steps)
        seconds.append(np.median([_seconds(model, state, steps) for _ in range(runs)]) / steps)
    return DecodingMeasurement(batch_size, np.array(lengths), np.array(seconds), np.array(state_bytes))


def _seconds(model, state, steps):
    """Seconds of `steps` steps from a state with capacity for them."""
    # The loop donates its buffers. Reading the copies waits until they are made.
    own = keras.tree.map_structure(ops.copy, state)
    for leaf in keras.tree.flatten(own):
        ops.convert_to_numpy(leaf)
    alive = np.ones(state.num_rows, bool)
    uniform = np.zeros((steps, state.num_rows), "float32")
    sampler = get_sampler("measure_decoding", "greedy")
    start = time.perf_counter()
    decode(model, sampler, own, alive, uniform, steps, np.zeros(0, "int32"))
    return time.perf_counter() - start
