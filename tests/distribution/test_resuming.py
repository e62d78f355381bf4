"""Runs of divided models, and of models in two processes, that are cut off and go on."""

import os
import shutil
import signal

import keras
import numpy as np
import pytest

from keras_griffin.distribution import LocalRows, data_parallel, fully_shard, layout_map
from keras_griffin.training import RandomWindows, ResumableRun, Terminated
from keras_griffin.training.resuming.processes import all_processes
from keras_griffin.training.resuming.shares import describe_layout
from tests.distribution import tiny
from tests.distribution.processes import Act, answers_of, free_address

BACKEND = keras.backend.backend()
on_jax = pytest.mark.skipif(BACKEND != "jax", reason="Keras's distribution is JAX's alone")
pytestmark = pytest.mark.slow
#: One block: each run compiles its step again.
CONFIG = tiny.CONFIG.replace(num_layers=1, block_pattern=("recurrent",))
TEXT = np.random.default_rng(3).integers(tiny.VOCABULARY, size=400).astype("uint8")
PROCESSES, EPOCHS, NUM_BATCHES, CUT = 2, 2, 4, 6
#: How two processes have a weight: words of its description.
LAYOUTS = {
    ("jax", "whole"): "(None, None) on {'batch': 2}",
    ("torch", "whole"): "whole",
    ("torch", "divided"): "Shard(dim=0)",
}


def all_variables(trained):
    return [*trained.variables, *trained.optimizer.variables]


def fit_over(folder, shape, *callbacks):
    """Begin or go on over devices, or on one; the history, and all variables that training moves."""
    if shape:
        mesh = keras.distribution.DeviceMesh(shape, ["batch", "model"])
        layouts = layout_map(CONFIG, mesh)
        keras.distribution.set_distribution(keras.distribution.ModelParallel(layout_map=layouts))
    trained = tiny.model(config=CONFIG)
    data = RandomWindows(TEXT, 16, 8, NUM_BATCHES)
    run = ResumableRun(folder, save_every=2)
    history = run.fit(trained, data, EPOCHS, callbacks=callbacks, verbose=0).history
    keras.distribution.set_distribution(None)
    return history, all_variables(trained)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folder of a run over eight devices that was cut off, and what one that was not has reached."""

    def cut_off(trained):
        raise InterruptedError

    folder = tmp_path_factory.mktemp("runs")
    with pytest.raises(InterruptedError):
        fit_over(folder / "cut", (2, 4), Act(cut_off, CUT))
    assert ResumableRun(folder / "cut").step == CUT
    return folder / "cut", *fit_over(folder / "undisturbed", (2, 4))


@on_jax
def test_a_divided_model_goes_on_to_the_last_bit_and_lies_as_it_did(runs, tmp_path):
    folder, history, variables = runs
    assert any(not variable.value.sharding.is_fully_replicated for variable in variables)
    shutil.copytree(folder, tmp_path / "run")
    resumed_history, resumed = fit_over(tmp_path / "run", (2, 4))
    assert resumed_history == history
    for one, other in zip(variables, resumed, strict=True):
        np.testing.assert_array_equal(np.asarray(one.value), np.asarray(other.value))
        assert one.value.sharding.is_equivalent_to(other.value.sharding, one.ndim), one.path


@on_jax
def test_a_run_goes_on_over_other_devices(runs, tmp_path):
    """What lies where is no part of a run: begun divided, it goes on undivided, and only rounding differs."""
    folder, history, variables = runs
    shutil.copytree(folder, tmp_path / "run")
    resumed_history, resumed = fit_over(tmp_path / "run", None)
    np.testing.assert_allclose(resumed_history["loss"], history["loss"], rtol=0, atol=1e-5)
    assert {len(variable.value.sharding.device_set) for variable in resumed} == {1}
    for one, other in zip(variables, resumed, strict=True):
        np.testing.assert_allclose(np.asarray(one.value), np.asarray(other.value), rtol=0, atol=1e-4)


def join(place, index):
    """Become one of the processes, which meet at an address on JAX, and at a file on PyTorch."""
    if BACKEND == "jax":
        keras.distribution.initialize(place, PROCESSES, index)
        keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
    else:
        import torch

        torch.distributed.init_process_group("gloo", f"file://{place}", rank=index, world_size=PROCESSES)


def in_two_processes(folder, place, index, weights):
    """One of two processes of a run that SIGTERM reaches in the other, the second, alone."""
    is_other, is_divided, answers = index == 1, weights == "divided", {}
    join(place, index)

    def made():
        """A model whose gradients are the mean of all processes'."""
        trained = tiny.model(config=CONFIG)
        if BACKEND == "torch":
            (fully_shard if is_divided else data_parallel)(trained)
        return trained

    def fit(name, trained, act=None, seed=0, epochs=EPOCHS):
        """Begin or go on; the history."""
        data = LocalRows(RandomWindows(TEXT, 16, 8, NUM_BATCHES, seed=seed), index, PROCESSES)
        callbacks = [keras.callbacks.EarlyStopping("val_loss", patience=9)]
        if act and is_other:
            callbacks.append(Act(act, CUT - 1))
        options = {"callbacks": callbacks, "validation_data": LocalRows(tiny.Batches(), index, PROCESSES)}
        return ResumableRun(folder / name, save_every=100).fit(trained, data, epochs, verbose=0, **options).history

    def refusal(name, trained, **options):
        try:
            fit(name, trained, **options)
        except (OSError, RuntimeError, ValueError) as error:
            return str(error)

    def all_values(trained):
        return [np.asarray(variable).tolist() for variable in all_variables(trained)]

    def terminate(trained):
        os.kill(os.getpid(), signal.SIGTERM)

    def stop(trained):
        """Keras ends the epoch after this batch."""
        trained.stop_training = True

    undisturbed = made()
    answers["history"] = fit("undisturbed", undisturbed)
    try:
        fit("cut", made(), terminate)
    except Terminated as terminated:
        answers["code"] = terminated.code
    answers["step"] = ResumableRun(folder / "cut").step
    answers["other data and steps"] = refusal("cut", made(), seed=index, epochs=EPOCHS + index)
    resumed = made()
    resumed.set_weights([0 * weight for weight in resumed.get_weights()])
    answers["resumed history"] = fit("cut", resumed)
    answers["same values"] = all_values(resumed) == all_values(undisturbed)
    answers["layout"] = describe_layout(all_processes(), resumed, LocalRows(tiny.Batches(), index, PROCESSES))

    # Where a step need not be compiled again.
    if BACKEND == "torch" and not is_divided:
        fit("stopped", made(), stop)
        answers["stopped"] = ResumableRun(folder / "stopped").step
        strange = made()
        if is_other:
            strange.final_norm.scale.assign(0.5 * strange.final_norm.scale)
        answers["other weights"] = refusal("weights", strange)
    if not is_other:
        # It can't save, and the other can't go on alone.
        (folder / "file").write_text("")
    answers["no folder"] = refusal("file/run", made())
    return answers


@pytest.mark.skipif(BACKEND not in ("jax", "torch"), reason="TensorFlow has runs of one process")
@pytest.mark.parametrize("weights", ["whole", "divided"] if BACKEND == "torch" else ["whole"])
def test_two_processes_end_after_one_batch_and_go_on_with_the_same_one(tmp_path, weights):
    place = free_address() if BACKEND == "jax" else tmp_path / "place"
    answers = answers_of(in_two_processes, *((tmp_path, place, index, weights) for index in (0, 1)))
    for index, answer in enumerate(answers):
        assert (answer["code"], answer["step"]) == (143, 6)
        assert answer["resumed history"] == answer["history"]
        assert answer["same values"]
        assert answer["layout"]["replica"] is None
        # Of the embedding.
        assert LAYOUTS[BACKEND, weights] in answer["layout"]["weights"]["0"]
        assert answer["other data and steps"] == (
            "ResumableRun: process 1 must have the settings of process 0. Got data.seed 1 instead of 0, fit.epochs 3 "
            "instead of 2."
        )
        assert "ResumableRun: " in answer["no folder"] and ("process 0 of 2: " in answer["no folder"]) == (index == 1)
    assert answers[0]["history"] == answers[1]["history"]
    if BACKEND == "torch":
        for answer in answers if weights == "whole" else ():
            assert answer["stopped"] == 6
            assert answer["other weights"].startswith(
                "ResumableRun: the processes of a run must begin with the same weights, by "
                "keras.utils.set_random_seed or from a file. Got different ones in process 1: final_norm/"
            )
