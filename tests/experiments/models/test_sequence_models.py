import dataclasses
import itertools

import keras
import numpy as np
import pytest

from experiments import pixels
from experiments.data.adding_problem import adding_problem
from experiments.data.pixel_data import task
from experiments.harness.table import Table
from experiments.harness.training import TRAINING
from experiments.models import sequence_models
from experiments.models.sequence_models import (
    EVALUATED,
    LAYERS,
    Part,
    StepTime,
    Task,
    build,
    make_model,
    parameters_of,
    rows_at_random,
    train,
    width_of,
)
from keras_griffin.layers import RGLRU
from tests.experiments import made_up

RUN = pixels.plan("smoke", (0,), Table())[0]


def of_pool(pool):
    part = adding_problem(4, 6, seed=0)
    return Task(lambda rows, seed: part, part, part, pool=pool, num_classes=3 if pool == "mean" else None)


@pytest.mark.any_backend
@pytest.mark.parametrize(("layer", "pool"), [("RGLRU", None), ("CGLRU", "last"), ("LSTM", "mean"), ("GRU", None)])
def test_all_layers_have_the_same_shell(layer, pool):
    model = make_model(layer, 8, of_pool(pool))
    kinds = [type(each).__name__ for each in model.layers]
    assert kinds.count(layer) == 2 and kinds.count("Dense") == 6 and kinds.count("RMSNormalization") == 5
    assert model.output_shape == {"mean": (None, 3), "last": (None, 1), None: (None, 6, 1)}[pool]
    assert model.count_params() == parameters_of(layer, 8, of_pool(pool))


@pytest.mark.any_backend
def test_all_layers_have_nearly_the_same_parameters():
    own = of_pool("mean")
    widths = {layer: width_of(layer, 64, own) for layer in LAYERS}
    counts = {layer: parameters_of(layer, width, own) for layer, width in widths.items()}
    assert widths["RGLRU"] == widths["CGLRU"] == 64 and counts["RGLRU"] > 30_000
    assert all(abs(count / counts["RGLRU"] - 1) < 0.03 for count in counts.values())
    # Neither neighbour is closer.
    for layer, step in itertools.product(("LSTM", "GRU"), (-1, 1)):
        other = parameters_of(layer, widths[layer] + step, own)
        assert abs(other - counts["RGLRU"]) > abs(counts[layer] - counts["RGLRU"])


@pytest.mark.any_backend
@pytest.mark.trainable
def test_a_seed_gives_the_same_weights():
    models = [build(dataclasses.replace(RUN, seed=seed), task("bumps")) for seed in (0, 0, 1)]
    weights = [np.concatenate([weight.ravel() for weight in model.get_weights()]) for model in models]
    assert np.array_equal(weights[0], weights[1]) and not np.array_equal(weights[0], weights[2])
    assert any(isinstance(layer, RGLRU) for layer in models[0].layers)


@pytest.mark.any_backend
def test_rows_to_train_on_follow_from_a_seed_and_belong_together():
    part = Part(np.arange(50.0)[:, None, None], np.arange(50), np.ones(50))
    drawn = rows_at_random(part, 400, seed=1)
    assert np.array_equal(drawn.features[:, 0, 0], drawn.targets) and set(drawn.targets) == set(range(50))
    assert np.array_equal(drawn.targets, rows_at_random(part, 400, seed=1).targets)
    assert not np.array_equal(drawn.targets, rows_at_random(part, 400, seed=2).targets)


def answers(model, own):
    """The loss of the trained model, which needs no program of its own."""
    yield "test_loss", model.evaluate(*own.validation[:2], EVALUATED, 0, own.validation.weights)[0]


def dense_model(layer, width, own):
    """A model without a recurrence."""
    return keras.Sequential([keras.Input((10, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])


class Killed(BaseException):
    """In place of SIGKILL."""


@pytest.mark.trainable
def test_a_run_that_was_cut_off_ends_with_the_numbers_of_one_that_was_not(tmp_path, monkeypatch):
    # At this rate the loss also rises.
    run = dataclasses.replace(RUN, steps=12, validate_every=4, learning_rate=0.3)
    monkeypatch.setattr(sequence_models, "SAVE_EVERY", 2)
    # It compiles in a moment.
    monkeypatch.setattr(sequence_models, "make_model", dense_model)
    whole = train(run, tmp_path / "whole", task("bumps"), answers)
    end = StepTime.on_train_batch_end

    def cut_off(clock, batch, logs=None):
        """End the process's work at once after the seventh step, of which nothing is saved."""
        end(clock, batch, logs)
        if clock.steps == 5:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(StepTime, "on_train_batch_end", cut_off)
        with pytest.raises(Killed):
            train(run, tmp_path / "cut", task("bumps"), answers)
    drawn = []

    def sample(rows, seed):
        drawn.append(seed - TRAINING)
        return task("bumps").sample(rows, seed)

    resumed = train(run, tmp_path / "cut", task("bumps")._replace(sample=sample), answers)
    # From the save after the sixth step, in the middle of an epoch. `fit` counts epochs from 1, and looks at 0 before.
    assert {step for step in drawn if step >= run.validate_every} == set(range(10, 16))
    found = [[row for row in rows if not row.metric.endswith("seconds")] for rows in (whole, resumed)]
    assert found[0] == found[1]
    metrics = [*3 * ["accuracy"], *3 * ["loss"], "test_loss", "cpu_seconds"]
    assert [row.metric for row in whole] == ["parameters", *metrics, "seconds"]
    assert {row.step for row in whole} == {0, 4, 8, 12}
    # The tested weights are those of the least validation loss.
    values = {metric: [row.value for row in whole if row.metric == metric] for metric in ("loss", "test_loss")}
    assert values["test_loss"] == [pytest.approx(min(values["loss"]), rel=1e-5)]
    assert 0 < whole[-2].value < 60 and not (tmp_path / "cut").exists()


@pytest.mark.any_backend
def test_the_time_of_steps_leaves_out_the_first_of_an_epoch_and_what_is_between_epochs(monkeypatch):
    times = iter([10.0, 11.0, 13.0, 50.0, 51.5])
    monkeypatch.setattr(sequence_models.time, "process_time", lambda: next(times))
    clock = StepTime()
    for epoch, steps in enumerate((3, 2)):
        clock.on_epoch_begin(epoch)
        for batch in range(steps):
            clock.on_train_batch_end(batch, {"loss": 1.0})
    assert (clock.seconds, clock.steps) == (4.5, 3)


@pytest.mark.any_backend
def test_each_task_has_a_search_of_its_own(tmp_path, monkeypatch):
    # On any machine.
    monkeypatch.setattr("experiments.data.pixel_data.FASHION_MNIST", tmp_path / "none")
    rates = {"digits": 2e-3, "MNIST-1D": 8e-3}

    def rows(run):
        loss = 0.1 if rates[run.setting] == run.learning_rate else 0.2
        return [row._replace(value=str(loss)) if row.metric == "loss" else row for row in made_up.results(run, 1e9)]

    runs = {(run.setting, run.learning_rate, run.seed): run for run in pixels.plan("small", (0, 1), Table())}
    table = Table(row for run in runs.values() if run.family == "GRU" for row in rows(run))
    again = pixels.plan("small", (0, 1), table)
    kept = {(run.setting, run.learning_rate) for run in again if run.seed == 1}
    assert kept == set(rates.items())
    assert {(trial.setting, trial.learning_rate) for trial in table.trials() if pixels.is_kept(table, trial)} == kept
