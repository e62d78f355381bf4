"""Runs of a divided model that are cut off; run by `test_resuming.py` where there are eight devices."""

import shutil

import keras
import numpy as np
import pytest

from keras_griffin.distribution import layout_map
from keras_griffin.training import RandomWindows, ResumableRun
from tests.distribution import tiny

#: One block: each process of a run compiles its step again.
CONFIG = tiny.CONFIG.replace(num_layers=1, block_pattern=("recurrent",))
TEXT = np.random.default_rng(3).integers(tiny.VOCABULARY, size=400).astype("uint8")
EPOCHS, NUM_BATCHES, CUT = 2, 4, 6


class CutOff(keras.callbacks.Callback):
    """End the process, so to speak, in the middle of the second epoch."""

    steps = 0

    def on_train_batch_begin(self, batch, logs=None):
        if self.steps == CUT:
            raise InterruptedError
        self.steps += 1


@pytest.fixture(autouse=True)
def no_distribution_is_left():
    yield
    keras.distribution.set_distribution(None)


def divide(shape):
    """Lay out what is made from now on over devices; None for one device."""
    mesh = shape and keras.distribution.DeviceMesh(shape, ["batch", "model"])
    divided = shape and keras.distribution.ModelParallel(layout_map=layout_map(CONFIG, mesh))
    keras.distribution.set_distribution(divided or None)


def fit(folder, shape, *callbacks):
    """Begin or go on: the history, and all variables that training moves."""
    divide(shape)
    trained = tiny.model(config=CONFIG)
    data = RandomWindows(TEXT, 16, 8, NUM_BATCHES)
    run = ResumableRun(folder, save_every=2)
    history = run.fit(trained, data, EPOCHS, callbacks=callbacks, verbose=0).history
    return history, [*trained.variables, *trained.optimizer.variables]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folder of a run that was cut off, and what one that was not has reached."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.raises(InterruptedError):
        fit(folder / "cut", (2, 4), CutOff())
    assert ResumableRun(folder / "cut").step == CUT
    return folder / "cut", *fit(folder / "undisturbed", (2, 4))


def test_a_divided_model_goes_on_to_the_last_bit_and_lies_as_it_did(runs, tmp_path):
    folder, history, variables = runs
    assert any(not variable.value.sharding.is_fully_replicated for variable in variables)
    shutil.copytree(folder, tmp_path / "run")
    resumed_history, resumed = fit(tmp_path / "run", (2, 4))
    assert resumed_history == history
    for one, other in zip(variables, resumed, strict=True):
        np.testing.assert_array_equal(np.asarray(one.value), np.asarray(other.value))
        assert one.value.sharding.is_equivalent_to(other.value.sharding, one.ndim), one.path


def test_a_run_goes_on_over_other_devices(runs, tmp_path):
    """What lies where is no part of a run: begun divided, it goes on undivided, and only rounding differs."""
    folder, history, variables = runs
    shutil.copytree(folder, tmp_path / "run")
    resumed_history, resumed = fit(tmp_path / "run", None)
    np.testing.assert_allclose(resumed_history["loss"], history["loss"], rtol=0, atol=1e-5)
    assert {len(variable.value.sharding.device_set) for variable in resumed} == {1}
    for one, other in zip(variables, resumed, strict=True):
        np.testing.assert_allclose(np.asarray(one.value), np.asarray(other.value), rtol=0, atol=1e-4)
