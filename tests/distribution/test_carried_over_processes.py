"""A state that is carried from batch to batch follows its rows: from process to process, and through a failure."""

import shutil
import uuid

import keras
import numpy as np
import pytest

from keras_griffin.distribution import LocalRows, data_parallel, fully_shard, layout_map
from keras_griffin.training import ConsecutiveChunks, ResumableRun
from tests.distribution import tiny
from tests.distribution.processes import Act, answers_of, free_address, last_file

BACKEND = keras.backend.backend()
#: One block: each run compiles its step again.
CONFIG = tiny.CONFIG.replace(num_layers=1, block_pattern=("recurrent",))
ROWS, EPOCHS = 8, 2
#: Each ends within a chunk of another row.
LENGTHS = 7, 150, 61, 1, 90, 200, 33


def documents():
    rng = np.random.default_rng(3)
    return [rng.integers(tiny.VOCABULARY, size=length) for length in LENGTHS]


def run(folder, place, count, index, weights, is_cut):
    """Begin or go on in one of several processes; whether it was cut."""
    model = join(place, count, index, weights)
    data = LocalRows(ConsecutiveChunks(documents(), 16, ROWS), index, count)

    def cut_off(model):
        raise InterruptedError

    # Before the second step of the second epoch.
    callbacks = [Act(cut_off, data.num_batches + 1)] if is_cut else []
    try:
        ResumableRun(folder, save_every=1).fit(model, data, EPOCHS, callbacks=callbacks, verbose=0)
    except InterruptedError:
        return True
    return False


def join(place, count, index, weights):
    """Become one of the processes, and create the model."""
    if count > 1 and BACKEND == "jax":
        keras.distribution.initialize(place, count, index)
        distribution = keras.distribution.DataParallel(auto_shard_dataset=False)
        if weights == "divided":
            mesh = keras.distribution.DeviceMesh((count, 1), ["batch", "model"])
            layouts = layout_map(CONFIG, mesh)
            distribution = keras.distribution.ModelParallel(layout_map=layouts, auto_shard_dataset=False)
        keras.distribution.set_distribution(distribution)
    model = tiny.model(config=CONFIG)
    if count > 1 and BACKEND == "torch":
        import torch

        torch.distributed.init_process_group("gloo", f"file://{place}", rank=index, world_size=count)
        (fully_shard if weights == "divided" else data_parallel)(model)
    carried = model.carried(ROWS)
    held = ROWS if BACKEND == "jax" else ROWS // count
    assert carried.carried.chunk.shape == (held,)
    if count > 1 and BACKEND == "jax":
        assert carried.carried.chunk.value.addressable_shards[0].data.shape == (ROWS // count,)
    elif count > 1:
        with pytest.raises(ValueError, match="^save: the state of every row must be in .* Got that of 4 rows of 8.$"):
            carried.save_weights(f"{place}-{index}.weights.h5")
        with pytest.raises(ValueError, match="^CarriedModel: the number of processes must divide batch_size. Got 2 "):
            model.carried(7)
    return carried


def processes_of(folder, count, tmp_path, weights, is_cut=False):
    """The arguments of `run` in each of several processes."""
    place = free_address() if BACKEND == "jax" else tmp_path / uuid.uuid4().hex
    return [(tmp_path / folder, place, count, index, weights, is_cut) for index in range(count)]


@pytest.mark.skipif(BACKEND not in ("jax", "torch"), reason="TensorFlow has runs of one process")
@pytest.mark.parametrize("weights", ["whole", "divided"])
@pytest.mark.slow
def test_states_follow_their_rows_through_a_failure_and_to_another_number_of_processes(tmp_path, weights):
    whole = processes_of("whole", 1, tmp_path, weights)
    cut = processes_of("from 1", 1, tmp_path, weights, True) + processes_of("from 2", 2, tmp_path, weights, True)
    assert answers_of(run, *whole, *cut) == [False, True, True, True]
    shutil.copytree(tmp_path / "from 2", tmp_path / "from 2 to 1")
    again = [*processes_of("from 1", 2, tmp_path, weights), *processes_of("from 2", 2, tmp_path, weights)]
    assert not any(answers_of(run, *again, *processes_of("from 2 to 1", 1, tmp_path, weights)))
    expected = last_file(tmp_path / "whole")
    assert len(expected.facts["callbacks"]["History 0"]["history"]["loss"]) == EPOCHS
    for name in ("from 1", "from 2", "from 2 to 1"):
        found = last_file(tmp_path / name)
        np.testing.assert_allclose(*(losses(file) for file in (found, expected)), rtol=0, atol=1e-5)
        assert found.tensors.keys() == expected.tensors.keys()
        for tensor, array in expected.tensors.items():
            np.testing.assert_allclose(found.tensors[tensor], array, rtol=0, atol=1e-5, err_msg=tensor)


def losses(file):
    return file.facts["callbacks"]["History 0"]["history"]["loss"]
