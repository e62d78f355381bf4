import dataclasses
import functools

import numpy as np
import pytest

from experiments import induction_heads, selective_copying
from experiments.harness import training
from experiments.harness.table import Table
from experiments.harness.training import (
    TRAINING,
    TaskData,
    batches,
    build,
    last_token_accuracy,
    nats_of_rows,
    rows_right,
    score,
    train,
)

# The library trains the same on every backend.
pytestmark = pytest.mark.any_backend

RUN = dataclasses.replace(selective_copying.plan("smoke", (0,), Table())[0], family="Griffin")


def test_a_batch_follows_from_seed_and_step_alone():
    data = TaskData(RUN, selective_copying.make_batch)
    first = [data[index] for index in range(2)]
    data.on_epoch_end()
    second = [data[index] for index in range(2)]
    for step, found in enumerate([*first, *second]):
        expected = selective_copying.make_batch(RUN, RUN.batch_size, TRAINING + step)
        assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))
    other = TaskData(dataclasses.replace(RUN, seed=1), selective_copying.make_batch)
    assert not np.array_equal(other[0][0], first[0][0])


@pytest.mark.trainable
def test_a_seed_gives_the_same_weights():
    models = (build(dataclasses.replace(RUN, seed=seed)) for seed in (0, 0, 1))
    weights = [np.concatenate([weight.ravel() for weight in each.get_weights()]) for each in models]
    assert np.array_equal(weights[0], weights[1]) and not np.array_equal(weights[0], weights[2])


@functools.cache
def model_of(module):
    return build(dataclasses.replace(module.plan("smoke", (0,), Table())[0], family="Griffin"))


@pytest.mark.trainable
def test_scores_are_those_of_the_logits():
    model, rows = model_of(selective_copying), list(batches(RUN, selective_copying.make_batch, 7, 1))
    token_ids, targets, weights = (np.concatenate(parts) for parts in zip(*rows, strict=True))
    assert len(token_ids) == 8
    logits = model.predict_on_batch(token_ids).astype("float64")
    nats, right, whole = [], [], []
    for row, answers in enumerate(targets[:, RUN.data["length"] :]):
        found = logits[row, RUN.data["length"] :]
        p = np.exp(found) / np.exp(found).sum(axis=-1, keepdims=True)
        nats += [-np.log(p[step, answer]) for step, answer in enumerate(answers)]
        right += [found[step].argmax() == answer for step, answer in enumerate(answers)]
        whole.append(all(right[-len(answers) :]))
    assert weights.sum() == len(nats)
    np.testing.assert_allclose(nats_of_rows(model, rows), np.reshape(nats, (8, -1)).mean(axis=1), rtol=1e-5)
    assert rows_right(model, rows).tolist() == whole
    np.testing.assert_allclose(score(model, rows), [np.mean(nats), np.mean(right), np.mean(whole)], rtol=1e-5)


@pytest.mark.trainable
def test_the_answer_after_a_row_is_that_of_the_whole_row():
    run = induction_heads.plan("smoke", (0,), Table())[0]
    model, rows = model_of(induction_heads), list(batches(run, induction_heads.make_batch, 40, 1))
    found = last_token_accuracy(model, rows)
    assert found == pytest.approx(score(model, rows).token_accuracy) and 0 <= found < 1


def measure(run, model):
    """A measurement of the trained model that needs no program of its own."""
    rows = batches(run, selective_copying.make_batch, run.validation_rows, 5)
    return [("far", "loss", score(model, rows).loss)]


def cut_off(callback, batch, logs=None):
    """End the process's work at once after the seventh step, of which nothing is saved."""
    if callback.rows and batch == 2:
        raise KeyboardInterrupt


@pytest.mark.trainable
def test_a_run_that_was_cut_off_ends_with_the_numbers_of_one_that_was_not(tmp_path, monkeypatch):
    run = dataclasses.replace(RUN, steps=8, validate_every=4)
    whole = train(run, tmp_path / "whole", selective_copying.make_batch, measure)
    monkeypatch.setattr(training, "SAVE_EVERY", 2)
    made = []

    def make_batch(run, rows, seed):
        made.append(seed)
        return selective_copying.make_batch(run, rows, seed)

    with monkeypatch.context() as patched:
        patched.setattr(training.Validation, "on_train_batch_end", cut_off, raising=False)
        with pytest.raises(KeyboardInterrupt):
            train(run, tmp_path / "cut", make_batch, measure)
    begun = len(made)
    resumed = train(run, tmp_path / "cut", make_batch, measure)
    # From the save after the sixth step, in the middle of an epoch. `fit` counts epochs from 1, and looks at 0 before.
    assert {seed - TRAINING for seed in made[begun:] if seed >= TRAINING + run.validate_every} == {10, 11}
    found = [[row for row in rows if row.metric != "seconds"] for rows in (whole, resumed)]
    assert found[0] == found[1] and len(found[0]) == 2 + 2 * 3 + 1
    assert not (tmp_path / "cut").exists()


@pytest.mark.trainable
def test_a_run_ends_when_the_task_is_solved_twice_in_a_row(tmp_path):
    run = dataclasses.replace(RUN, steps=20, validate_every=2, solved=0.0)
    measured = train(run, tmp_path, selective_copying.make_batch, lambda run, model: [("far", "test", 0.5)])
    assert max(row.step for row in measured) == 4
    assert [row for row in measured if row.setting == "far"] == [("far", 4, "test", 0.5)]
