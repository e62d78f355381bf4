"""A snapshot of a run of several processes: their common part once, and each one's own part."""

import json
from collections.abc import Mapping

import keras
import numpy as np

from keras_griffin.models.weights import as_array
from keras_griffin.training.resuming.processes import Processes
from keras_griffin.training.resuming.run_file import RunFile, as_json, crc32

#: Prefix of tensors that differ from those of the writer, such as `process/1/metrics/0/loss/total`.
_OWN = "process"


def gather_moment(
    processes: Processes, tensors: Mapping[str, np.ndarray], facts: dict
) -> tuple[Mapping[str, np.ndarray], dict]:
    """The tensors and facts for the writer to write; the other processes' results are unused.

    Args:
        processes: all of them.
        tensors: this process's arrays by name.
        facts: this process's; apart from `callbacks`, the state of its callbacks, only the writer's count.
    """
    if processes.count == 1:
        return tensors, facts
    tensors = {name: np.asarray(array) for name, array in tensors.items()}
    own = {name: [list(array.shape), array.dtype.name, crc32(array)] for name, array in tensors.items()}
    described = [json.loads(text) for text in processes.texts(json.dumps(own))]
    known = [json.loads(text) for text in processes.texts(json.dumps(facts["callbacks"], default=as_json))]
    of_writer = {_place(name): description for name, description in described[0].items()}
    gathered, others = dict(tensors), {}
    for index in range(1, processes.count):
        for name, description in described[index].items():
            if of_writer.get(_place(name)) != description:
                array = processes.array_of(index, tensors.get(name), *description[:2])
                gathered[f"{_OWN}/{index}/{name}"] = array
        arrays = [name for name in described[index] if name.startswith("callbacks/")]
        others[str(index)] = {"callbacks": known[index], "arrays_of_callbacks": arrays}
    return gathered, {**facts, "others": others}


def share_facts(processes: Processes, saved: RunFile | None) -> dict | None:
    """The facts of the snapshot that the writer has read, or None."""
    if processes.count == 1:
        return saved and saved.facts
    return json.loads(processes.texts(json.dumps(saved and saved.facts) if processes.is_writer else "")[0])


def share_moment(processes: Processes, saved: RunFile | None, facts: dict | None) -> RunFile | None:
    """This process's view of the snapshot that the writer has read.

    Args:
        processes: all of them.
        saved: the snapshot in the writer, None in the other processes.
        facts: of that snapshot, in all processes; None if there is none.
    """
    if facts is None:
        return None
    if processes.count == 1:
        return saved
    own = {name: [list(array.shape), array.dtype.name] for name, array in saved.tensors.items()} if saved else None
    described = json.loads(processes.texts(json.dumps(own))[0])
    common, mine, prefix = {}, {}, f"{_OWN}/{processes.index}/"
    for name, description in described.items():
        array = processes.array_of(0, saved.tensors[name] if saved else None, *description)
        if name.startswith(prefix):
            mine[name.removeprefix(prefix)] = array
        elif not name.startswith(f"{_OWN}/"):
            common[name] = array
    # Not the writer's.
    others = facts["others"].get(str(processes.index))
    if others:
        facts = {**facts, "callbacks": others["callbacks"]}
        places = {_place(name) for name in mine}
        arrays = set(others["arrays_of_callbacks"])
        common = {
            name: array
            for name, array in common.items()
            if _place(name) not in places and (name in arrays or not name.startswith("callbacks/"))
        }
    return RunFile(facts, {**common, **mine})


def check_same_weights(processes: Processes, model: keras.Model) -> None:
    """Check that all processes of a run begin with the same weights, since each applies the mean of all gradients.

    Raises:
        ValueError: the trainable variables differ between processes.
    """
    if processes.count == 1:
        return
    paths = [variable.path for variable in model.trainable_variables]
    own = [crc32(as_array(variable)) for variable in model.trainable_variables]
    first, *others = (json.loads(text) for text in processes.texts(json.dumps(own)))
    for index, checksums in enumerate(others, 1):
        if checksums != first:
            pairs = zip(paths, first, checksums, strict=False)
            named = [path for path, one, other in pairs if one != other] or ["their number"]
            raise ValueError(
                "ResumableRun: the processes of a run must begin with the same weights, by "
                f"keras.utils.set_random_seed or from a file. Got different ones in process {index}: {named[0]}."
            )


def _place(name):
    """A name of a variable that is the same in every process, even if Keras has numbered its layers differently."""
    return name if name.startswith("callbacks/") else tuple(name.split("/")[:2])
