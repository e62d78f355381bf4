"""The processes that train one model together, and their communication."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_griffin import backends
from keras_griffin.models.saving.weights import as_array
from keras_griffin.training.resuming.run_file import as_json


class Processes:
    """All processes of a run. Each must call the same methods in the same order; with one process, they do nothing.

    Process 0 is the writer. `backend` has `gathered` and `sent`, as in `keras_griffin.backends`.
    """

    def __init__(self, index: int = 0, count: int = 1, backend: Any = None):
        self.index = index
        self.count = count
        self._backend = backend

    @property
    def is_writer(self) -> bool:
        """Whether this process reads and writes the run's folder."""
        return self.index == 0

    def largest(self, *numbers: int) -> list[int]:
        """The largest of all processes' numbers, place by place; each below 2^31."""
        if self.count == 1:
            return list(numbers)
        return self._backend.gathered(np.array(numbers, "int32")).max(axis=0).tolist()

    def texts(self, text: str) -> list[str]:
        """The text of each process."""
        if self.count == 1:
            return [text]
        own = np.frombuffer(text.encode(), "uint8")
        lengths = self._backend.gathered(np.array([len(own)], "int32"))[:, 0]
        padded = np.zeros(max(1, *lengths), "uint8")
        padded[: len(own)] = own
        rows = self._backend.gathered(padded)
        return [bytes(row[:length]).decode() for row, length in zip(rows, lengths, strict=True)]

    def values(self, value: Any) -> list:
        """The value of each process, as JSON."""
        return [json.loads(text) for text in self.texts(json.dumps(value, default=as_json))]

    def array_of(self, source: int, array: Any, shape, dtype) -> np.ndarray:
        """An array of one process, sent to the others, which know its shape and dtype."""
        if self.count == 1:
            return array
        # As bytes, since not every backend supports every dtype.
        if self.index == source:
            bits = np.ascontiguousarray(array).reshape(-1).view("uint8")
        else:
            bits = np.zeros(int(np.prod(shape)) * np.dtype(dtype).itemsize, "uint8")
        return self._backend.sent(bits, source).view(dtype).reshape(shape) if bits.size else np.zeros(shape, dtype)

    def whole(self, variable: keras.Variable, has_rows: bool = False) -> np.ndarray:
        """The exact value of a variable: gathered if each process holds a part, or with `has_rows` its rows."""
        value = variable.value
        # Of JAX; divided variables of PyTorch gather themselves.
        if not (getattr(value, "is_fully_addressable", True) or getattr(value, "is_fully_replicated", False)):
            return self._backend.whole(value)
        array = as_array(variable)
        if self.count == 1 or not has_rows:
            return array
        # As bytes, since not every backend supports every dtype.
        rows = self._backend.gathered(np.ascontiguousarray(array).reshape(-1).view("uint8"))
        return rows.view(array.dtype).reshape(self.count * len(array), *array.shape[1:])

    def own_rows(self, array: np.ndarray) -> np.ndarray:
        """This process's rows of an array with those of all."""
        size = len(array) // self.count
        return array[self.index * size : (self.index + 1) * size]

    def share_of_metrics(self, count: int) -> float:
        """What the metrics of a snapshot by `count` processes are multiplied by, if each process has its own rows'."""
        return count / self.count if keras.backend.backend() == "torch" else 1.0

    @contextlib.contextmanager
    def as_one(self) -> Iterator[None]:
        """If one process fails in the `with` block, all fail: the others with a RuntimeError that has its message."""
        failure = None
        try:
            yield
        except (OSError, RuntimeError, ValueError) as error:
            if self.count == 1:
                raise
            failure = error
        messages = self.texts("" if failure is None else str(failure) or type(failure).__name__)
        if failure is not None:
            raise failure
        for index, message in enumerate(messages):
            if message:
                raise RuntimeError(
                    f"ResumableRun: no process must fail. Got, in process {index} of {self.count}: {message}"
                )


def all_processes() -> Processes:
    """PyTorch's process group or the processes of JAX's active `keras.distribution`; otherwise this process alone."""
    index, count = backends.active().process()
    return Processes(index, count, backends.active())
