"""The processes that train one model together, and their communication."""

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

#: The backends with a file `<backend>_processes.py`: `place()` returns a process's index and the number of processes,
#: `gathered` an array of every process `(P, ...)`, and `sent` that of one of them.
_BACKENDS = ("jax", "torch", "tensorflow")


class Processes:
    """All processes of a run. Each must call the same methods in the same order; with one process, they do nothing.

    Args:
        index: of this process.
        count: P.
        backend: the module with which they communicate; None for one process.

    Attributes:
        index: of this process; process 0 is the writer.
        count: P.
    """

    def __init__(self, index: int = 0, count: int = 1, backend: Any = None):
        self.index = index
        self.count = count
        self._backend = backend

    @property
    def is_writer(self) -> bool:
        """Whether this is the process that reads and writes the run's folder."""
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

    @contextlib.contextmanager
    def as_one(self) -> Iterator[None]:
        """If one process fails in the `with` block, all fail.

        Raises:
            RuntimeError: another process has failed; the message is that of its error.
        """
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
    """Those of PyTorch's process group or of JAX's active `keras.distribution`; otherwise this process alone.

    Raises:
        ValueError: TensorFlow's active strategy has several workers.
    """
    name = keras.backend.backend()
    if name not in _BACKENDS:
        return Processes()
    backend = importlib.import_module(f"keras_griffin.training.resuming.{name}_processes")
    index, count = backend.place()
    return Processes(index, count, backend)
