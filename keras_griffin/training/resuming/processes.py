"""The processes that train one model together: their communication, and their shares of a snapshot."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from keras_griffin import backends
from keras_griffin.models.saving.weights import as_array
from keras_griffin.training.resuming.run_file import RunFile, as_json, crc32
from keras_griffin.training.resuming.run_state import place_of

#: Prefix of tensors that differ from the writer's, such as `process/1/metrics/0/loss/total`.
_OWN = "process"


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


def gather_snapshot(
    processes: Processes, tensors: Mapping[str, np.ndarray], facts: dict
) -> tuple[Mapping[str, np.ndarray], dict]:
    """The tensors and facts that the writer writes: its own, and where the other processes' differ, theirs too."""
    if processes.count == 1:
        return tensors, facts
    tensors = {name: np.asarray(array) for name, array in tensors.items()}
    described = processes.values({name: [*_shape_and_dtype(array), crc32(array)] for name, array in tensors.items()})
    callbacks = processes.values(facts["callbacks"])
    of_writer = {place_of(name): description for name, description in described[0].items()}
    gathered, others = dict(tensors), {}
    for index in range(1, processes.count):
        for name, description in described[index].items():
            if of_writer.get(place_of(name)) != description:
                own = processes.array_of(index, tensors.get(name), *description[:2])
                gathered[f"{_OWN}/{index}/{name}"] = own
        arrays = [name for name in described[index] if name.startswith("callbacks/")]
        others[str(index)] = {"callbacks": callbacks[index], "arrays_of_callbacks": arrays}
    return gathered, {**facts, "others": others}


def share_facts(processes: Processes, saved: RunFile | None) -> dict | None:
    """The facts of the snapshot that the writer has read, or None."""
    if processes.count == 1:
        return saved and saved.facts
    return processes.values(saved and saved.facts)[0]


def share_snapshot(processes: Processes, saved: RunFile | None, facts: dict | None) -> RunFile | None:
    """This process's part of the snapshot with these facts; `saved` is that snapshot in the writer, None elsewhere."""
    if facts is None or processes.count == 1:
        return saved
    own = saved and {name: _shape_and_dtype(array) for name, array in saved.tensors.items()}
    common, mine, prefix = {}, {}, f"{_OWN}/{processes.index}/"
    for name, description in processes.values(own)[0].items():
        array = processes.array_of(0, saved and saved.tensors[name], *description)
        if name.startswith(prefix):
            mine[name.removeprefix(prefix)] = array
        elif not name.startswith(f"{_OWN}/"):
            common[name] = array
    # The writer has none, nor has a process of a run that began with one.
    others = facts.get("others", {}).get(str(processes.index))
    if others:
        facts = {**facts, "callbacks": others["callbacks"]}
        places, arrays = {place_of(name) for name in mine}, set(others["arrays_of_callbacks"])
        common = {
            name: array
            for name, array in common.items()
            if place_of(name) not in places and (name in arrays or not name.startswith("callbacks/"))
        }
    return RunFile(facts, {**common, **mine})


def check_same_weights(processes: Processes, model: keras.Model) -> None:
    """Check that all processes of a run begin with the same weights, since each applies the mean of all gradients."""
    if processes.count == 1:
        return
    paths = [variable.path for variable in model.trainable_variables]
    first, *others = processes.values([crc32(as_array(variable)) for variable in model.trainable_variables])
    for index, checksums in enumerate(others, 1):
        if checksums != first:
            pairs = zip(paths, first, checksums, strict=False)
            named = [path for path, one, other in pairs if one != other] or ["their number"]
            raise ValueError(
                "ResumableRun: the processes of a run must begin with the same weights, by "
                f"keras.utils.set_random_seed or from a file. Got different ones in process {index}: {named[0]}."
            )


def _shape_and_dtype(array) -> list:
    return [list(array.shape), array.dtype.name]
