"""The shares of a snapshot: what the processes that train one model together save, and what each resumes from."""

from collections.abc import Mapping

import keras
import numpy as np

from keras_griffin.models.saving.checksums import array_crc32
from keras_griffin.training.resuming.processes import Processes
from keras_griffin.training.resuming.run_description import check_same_description
from keras_griffin.training.resuming.run_file import RunFile
from keras_griffin.training.resuming.run_state import place_of

#: Prefix of tensors that differ from the writer's, such as `process/1/metrics/0/loss/total`.
_OWN = "process"


def gather_snapshot(
    processes: Processes, tensors: Mapping[str, np.ndarray], facts: dict
) -> tuple[Mapping[str, np.ndarray], dict]:
    """The tensors and facts that the writer writes: its own, and where the other processes' differ, theirs too."""
    facts = {**facts, "count": processes.count}
    if processes.count == 1:
        return tensors, facts
    tensors = {name: np.asarray(array) for name, array in tensors.items()}
    described = processes.values(
        {name: [*_shape_and_dtype(array), array_crc32(array)] for name, array in tensors.items()}
    )
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
    # What belongs to one process, such as a metric of its own rows, has no heir among another number of them.
    is_same_count = facts.get("count", processes.count) == processes.count
    common, mine, prefix = {}, {}, f"{_OWN}/{processes.index}/"
    for name, description in processes.values(own)[0].items():
        array = processes.array_of(0, saved and saved.tensors[name], *description)
        if name.startswith(prefix) and is_same_count:
            mine[name.removeprefix(prefix)] = array
        elif not name.startswith(f"{_OWN}/"):
            common[name] = array
    # The writer has none, nor has a process of a run that began with one.
    others = facts.get("others", {}).get(str(processes.index))
    if others and is_same_count:
        facts = {**facts, "callbacks": others["callbacks"]}
        places, arrays = {place_of(name) for name in mine}, set(others["arrays_of_callbacks"])
        common = {
            name: array
            for name, array in common.items()
            if place_of(name) not in places and (name in arrays or not name.startswith("callbacks/"))
        }
    return RunFile(facts, {**common, **mine})


def check_rows(processes: Processes, data: keras.utils.PyDataset) -> None:
    """Check that processes that read parts of the same batches read all of each; a replica's on JAX read the same."""
    read = processes.values(f"{data.index} of {data.count}" if hasattr(data, "whole") else "all")
    if set(read) == {"all"} or set(read) == {f"{index} of {len(set(read))}" for index in range(len(set(read)))}:
        return
    raise ValueError(
        "ResumableRun: the processes of a run must read each part of a batch, by LocalRows(data, index, count). Got "
        f"parts {', '.join(read)} in processes 0 to {processes.count - 1}."
    )


def describe_layout(processes: Processes, model: keras.Model, data: keras.utils.PyDataset) -> dict:
    """Which rows this process reads of data that are not `LocalRows`, and how the processes have each weight."""
    distribution = keras.distribution.distribution()
    replica = processes.index if distribution is None else distribution.data_shard_id
    weights = {str(index): _division(variable.value) for index, variable in enumerate(model.weights)}
    return {"replica": None if hasattr(data, "whole") else replica, "weights": weights}


def _division(value) -> str:
    """How the processes have a weight: its axes on a mesh, of JAX or PyTorch, or whole."""
    if hasattr(value, "sharding") and hasattr(value.sharding, "spec"):
        return f"{tuple(value.sharding.spec)} on {dict(value.sharding.mesh.shape)}"
    return f"{value.placements} on {value.device_mesh}" if hasattr(value, "placements") else "whole"


def check_same_settings(descriptions: list[dict]) -> None:
    """Check that all processes of a run do the same steps: otherwise processes wait for each other for ever."""
    replicas = [description["replica"] for description in descriptions]
    for index, given in enumerate(descriptions):
        # The first process that reads the same rows; each replica may have data of its own.
        first = replicas.index(given["replica"])
        own = {name: descriptions[first][name] for name in ("replica", "data", "first_batch")}
        whose = 0 if first == index else first
        rule = f"process {index} must have the settings of process {whose}"
        check_same_description(rule, {**descriptions[0], **own}, given)


def check_same_weights(processes: Processes, model: keras.Model) -> None:
    """Check that all processes of a run begin with the same weights, since each applies the mean of all gradients."""
    if processes.count == 1:
        return
    paths = [variable.path for variable in model.trainable_variables]
    first, *others = processes.values(
        [array_crc32(processes.whole(variable)) for variable in model.trainable_variables]
    )
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
