"""Orbax's checkpoints of a model in parts, saved in the background, restored as docs/guides/resuming.md shows."""

import contextlib
import importlib.util
import shutil

import keras
import numpy as np
import pytest

from keras_griffin.distribution import LocalRows, gathered, layout_map
from keras_griffin.models import Griffin
from tests.distribution.processes import Act, answers_of, free_address
from tests.distribution.tiny import CONFIG, EPOCHS, Batches
from tests.training.resuming.guide import examples, replaced


def cut_off(model):
    raise KeyboardInterrupt


def go_on(folder, mesh, place, count, index, cut_at=-1):
    """The step that the run went on from, the shape of a part of the first weight, and all weights; None if cut off."""
    keras.utils.set_random_seed(0)
    if count > 1:
        keras.distribution.initialize(place, count, index)
        layouts = layout_map(CONFIG, keras.distribution.DeviceMesh(mesh, ["batch", "model"]))
        distribution = keras.distribution.ModelParallel(
            layout_map=layouts, batch_dim_name="batch", auto_shard_dataset=False
        )
        keras.distribution.set_distribution(distribution)
    model = Griffin(CONFIG)
    windows = LocalRows(Batches()) if count > 1 else Batches()
    given = {"model": model, "windows": windows, "epochs": EPOCHS, "cut_off": Act(cut_off, cut_at)}
    changes = {"/runs/mine": folder, "save_freq=100": "save_freq=1", "[saving]": "[saving, cut_off]"}
    try:
        exec(replaced(examples()[-1], changes), given)
    except KeyboardInterrupt:
        # This process is killed when all have answered: a save in the background may not have come to its end.
        return None
    part = model.trainable_variables[0].value.addressable_shards[0].data.shape
    with gathered(model) if count > 1 else contextlib.nullcontext():
        return given["step"], part, model.get_weights()


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="Keras's Orbax callback is for JAX")
@pytest.mark.skipif(not importlib.util.find_spec("orbax"), reason="needs the extra orbax")
@pytest.mark.slow
def test_a_run_cut_off_on_one_mesh_goes_on_with_another(tmp_path):
    undisturbed, cut, alone = (str(tmp_path / name) for name in ("undisturbed", "cut", "alone"))
    places = [free_address() for _ in range(3)]
    columns, rows = (1, 2), (2, 1)
    first = answers_of(
        go_on,
        *((undisturbed, columns, places[0], 2, index) for index in (0, 1)),
        *((cut, columns, places[1], 2, index, 3) for index in (0, 1)),
    )
    assert first[2:] == [None, None]
    shutil.copytree(cut, alone)
    resumed = answers_of(go_on, *((cut, rows, places[2], 2, index) for index in (0, 1)), (alone, None, None, 1, 0))
    assert [(step, part) for step, part, _ in first[:2]] == 2 * [(0, (16, 16))]
    assert [part for _, part, _ in resumed] == [(32, 8), (32, 8), (32, 16)]
    for step, _, weights in resumed:
        # What was being written when the processes ended does not count.
        assert step in (1, 2, 3)
        for ours, theirs in zip(weights, first[0][2], strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)
