import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_griffin.models import Griffin, GriffinConfig
from keras_griffin.training import Interrupted, PackedDocuments, ResumableRun, Terminated
from keras_griffin.training.resuming.run_file import read_run
from tests.training.resuming.cut_off_run import EPOCHS, NUM_BATCHES, fit, held_out, make_data, make_model, values

PROGRAM = Path(__file__).with_name("cut_off_run.py")


class PowerLoss(Exception):
    """Nothing is done any more."""


class CutOff(keras.callbacks.Callback):
    """End the process, so to speak, at a moment."""

    def __init__(self, moment, after=0, act=None):
        super().__init__()
        self.after = after
        self.act = act
        setattr(self, moment, self.cut)

    def cut(self, *arguments, **keywords):
        if self.after == 0:
            self.act() if self.act else self.fail()
        self.after -= 1

    def fail(self):
        raise PowerLoss


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """History, values and log of a run without a pause."""
    folder = tmp_path_factory.mktemp("undisturbed")
    model = make_model()
    history = fit(folder, model)
    return history.history, values(model), (folder / "log.csv").read_text()


def check(folder, history, model, undisturbed):
    assert history.history == undisturbed[0]
    assert values(model) == undisturbed[1]
    assert (folder / "log.csv").read_text() == undisturbed[2]


@pytest.mark.trainable
def test_an_undisturbed_run_is_what_fit_gives(undisturbed):
    model = make_model()
    history = model.fit(make_data(), epochs=EPOCHS, shuffle=False, validation_data=held_out(), verbose=0)
    assert history.history == undisturbed[0]
    assert values(model) == undisturbed[1]


@pytest.mark.trainable
@pytest.mark.slow
def test_a_run_goes_on_wherever_it_was_cut_off_as_if_it_had_not_been(tmp_path, undisturbed):
    cuts = [
        # Before any step, before one, after one, in a validation, at both ends of an epoch, and once more.
        CutOff("on_train_batch_begin"),
        CutOff("on_train_batch_begin", after=3),
        CutOff("on_train_batch_end", after=NUM_BATCHES - 3),
        CutOff("on_test_batch_begin", after=1),
        CutOff("on_epoch_end"),
        CutOff("on_epoch_begin", after=1),
        CutOff("on_train_batch_begin", after=1),
    ]
    model = make_model()
    for number, cut in enumerate(cuts):
        # Whatever a process begins with is not what it trains. Real processes are killed below.
        for variable in (*model.trainable_variables, *model.optimizer.variables):
            if number and "float" in variable.dtype:
                variable.assign(variable + number)
        with pytest.raises(PowerLoss):
            fit(tmp_path, model, [cut])
    model = make_model(seed=99)
    history = fit(tmp_path, model)
    check(tmp_path, history, model, undisturbed)
    # The run is over, and going on with it changes nothing.
    model = make_model(seed=98)
    history = fit(tmp_path, model)
    check(tmp_path, history, model, undisturbed)


@pytest.mark.trainable
def test_metrics_of_the_epoch_under_way_go_on(tmp_path):
    """After three of five batches, the logs are the means over three."""
    logged = []

    class Log(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            logged.append(logs)

    fit(tmp_path / "a", make_model(), [Log()], epochs=1)
    whole, logged[:] = list(logged), []
    with pytest.raises(PowerLoss):
        fit(tmp_path / "b", make_model(), [CutOff("on_train_batch_begin", after=2)], epochs=1)
    fit(tmp_path / "b", make_model(), [Log()], epochs=1)
    assert logged == whole[2:]


class Counting(keras.callbacks.Callback):
    """Told the batch at which an epoch goes on."""

    first_batch = None

    def __init__(self):
        super().__init__()
        self.told = []

    def on_epoch_begin(self, epoch, logs=None):
        self.told.append((epoch, self.first_batch))


@pytest.mark.any_backend
@pytest.mark.trainable
@pytest.mark.parametrize(
    ("number", "kind", "code"), [(signal.SIGTERM, Terminated, 143), (signal.SIGINT, Interrupted, None)]
)
def test_a_signal_ends_the_run_after_the_batch_and_nothing_is_lost(tmp_path, undisturbed, capsys, number, kind, code):
    cut = CutOff("on_train_batch_begin", after=NUM_BATCHES + 2, act=lambda: os.kill(os.getpid(), number))
    before = signal.getsignal(number)
    with pytest.raises(kind) as caught:
        fit(tmp_path, make_model(), [cut])
    if code:
        assert caught.value.code == code
    assert signal.getsignal(number) is before
    assert capsys.readouterr().err == "\nStopping after this batch; a second signal stops at once.\n"
    # The row of half an epoch does not appear.
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 2
    assert ResumableRun(tmp_path / "run").step == NUM_BATCHES + 3
    model, counting = make_model(seed=1), Counting()
    check(tmp_path, fit(tmp_path, model, [counting]), model, undisturbed)
    assert counting.told == [(1, 3), (2, 0)]


@pytest.mark.any_backend
@pytest.mark.trainable
def test_what_a_callback_has_ended_stays_ended_and_what_it_knew_is_known(tmp_path):
    def stopping():
        return keras.callbacks.EarlyStopping("loss", mode="max", patience=1, restore_best_weights=True)

    model = make_model()
    history = fit(tmp_path / "a", model, [stopping()], epochs=5)
    assert len(history.epoch) == 2
    with pytest.raises(PowerLoss):
        fit(tmp_path / "b", make_model(), [stopping(), CutOff("on_train_batch_begin", after=NUM_BATCHES + 1)], epochs=5)
    for seed in (1, 2):
        other = make_model(seed=seed)
        assert fit(tmp_path / "b", other, [stopping()], epochs=5).history == history.history
        assert values(other) == values(model)


@pytest.mark.trainable
@pytest.mark.parametrize("after", [2, 6])
def test_packed_documents_go_on_in_the_middle_of_an_epoch(tmp_path, after):
    """In the first one, and in the second, whose rows come in another order."""
    rng = np.random.default_rng(0)
    documents = [rng.integers(13, size=length) for length in (30, 5, 41, 3, 8, 17, 2, 9)]
    config = GriffinConfig(vocabulary_size=13, width=16, num_layers=1, num_heads=2, num_gate_blocks=4)
    weights = Griffin(config).get_weights()

    def fit_packed(folder, *callbacks):
        model = Griffin(config)
        model.set_weights(weights if folder == "undisturbed" or callbacks else [0 * weight for weight in weights])
        packed = model.packed()
        data = PackedDocuments(documents, 16, 2)
        assert data.num_batches == 4
        run = ResumableRun(tmp_path / folder, save_every=1)
        return run.fit(packed, data, 2, callbacks=callbacks, verbose=0).history, values(packed)

    expected = fit_packed("undisturbed")
    with pytest.raises(PowerLoss):
        fit_packed("cut", CutOff("on_train_batch_begin", after=after))
    assert ResumableRun(tmp_path / "cut").step == after
    assert fit_packed("cut") == expected


@pytest.mark.any_backend
@pytest.mark.trainable
def test_from_a_damaged_file_the_run_falls_back_and_still_arrives(tmp_path, undisturbed, held_files_stay):
    with pytest.raises(PowerLoss):
        fit(tmp_path, make_model(), [CutOff("on_train_batch_begin", after=4)])
    newest, before = sorted((tmp_path / "run").glob("step-*.safetensors"), reverse=True)
    assert (read_run(newest).facts["step"], read_run(before).facts["step"]) == (4, 2)
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 4
    newest.write_bytes(content)
    model = make_model(seed=1)
    with pytest.warns(UserWarning, match="is damaged, so the run resumes from step-000000002.safetensors: read_run"):
        history = fit(tmp_path, model)
    check(tmp_path, history, model, undisturbed)
    # The file that it resumed from was released, so it could be removed like every old one.
    assert not before.exists()


@pytest.mark.trainable
def test_another_run_is_refused_and_names_what_differs(tmp_path):
    with pytest.raises(PowerLoss):
        fit(tmp_path, make_model(), [CutOff("on_train_batch_begin", after=2)])
    sentence = "ResumableRun: a run must resume with the settings that it began with. Got .*"
    with pytest.raises(ValueError, match=sentence + "output_dim 9 instead of 8"):
        fit(tmp_path, make_model(units=9))
    with pytest.raises(ValueError, match=sentence + "data.batch_size 3 instead of 2.$"):
        fit(tmp_path, make_model(), data=make_data(batch_size=3))


@pytest.mark.trainable
def test_notes_and_time_are_found_again(tmp_path):
    run = ResumableRun(tmp_path / "run", notes={"a": [1]})
    assert (run.is_begun, run.step, run.folder) == (False, 0, tmp_path / "run")
    run.fit(make_model(), make_data(), 1, verbose=0)
    again = ResumableRun(tmp_path / "run", notes="other")
    assert again.is_begun and again.notes == {"a": [1]} and again.seconds >= run.seconds * 0.1 > 0
    again.remove()
    assert not again.is_begun and not (tmp_path / "run").exists()


def test_arguments_that_the_run_decides_or_that_are_out_of_range_are_refused(tmp_path):
    for options in ({"save_every": 0}, {"keep": 0.5}):
        with pytest.raises(ValueError, match=f"ResumableRun: {[*options][0]} must be an integer of at least 1. Got"):
            ResumableRun(tmp_path, **options)
    with pytest.raises(ValueError, match="must not be ones that the run sets itself. Got initial_epoch, shuffle."):
        ResumableRun(tmp_path).fit(make_model(), make_data(), 1, shuffle=True, initial_epoch=2)
    model = keras.Sequential([keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="must be built and compiled. Got built: False and compiled: False."):
        ResumableRun(tmp_path).fit(model, make_data(), 1)


def start(folder, seconds):
    command = [sys.executable, PROGRAM, str(folder), str(seconds)]
    settings = {**os.environ, "KERAS_BACKEND": keras.backend.backend()}
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=settings)


def wait_for_steps(process, folder, steps):
    while not (folder / "steps").exists() or int((folder / "steps").read_text()) < steps:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)


@pytest.mark.trainable
@pytest.mark.slow
def test_a_process_that_is_killed_and_one_that_is_terminated_go_on(tmp_path, undisturbed):
    with start(tmp_path, seconds=0.1) as process:
        wait_for_steps(process, tmp_path, NUM_BATCHES + 2)
        with pytest.raises(ValueError, match=f", in use by process {process.pid} on {socket.gethostname()}."):
            fit(tmp_path, make_model())
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert (tmp_path / "run" / "lock").exists()
    (tmp_path / "steps").unlink()
    with start(tmp_path, seconds=0.1) as process:
        wait_for_steps(process, tmp_path, 3)
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 143
        # TensorFlow has more to say.
        assert "\nStopping after this batch; a second signal stops at once.\n" in process.stderr.read()
    assert not (tmp_path / "end.json").exists()
    with start(tmp_path, seconds=0.0) as process:
        assert process.wait() == 0, process.stderr.read()
    assert not (tmp_path / "run" / "lock").exists()
    history, ended = json.loads((tmp_path / "end.json").read_text())
    assert history == undisturbed[0]
    assert all(np.array_equal(one, other) for one, other in zip(ended, undisturbed[1], strict=True))
    assert (tmp_path / "log.csv").read_text() == undisturbed[2]
