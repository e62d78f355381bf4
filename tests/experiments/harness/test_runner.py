import dataclasses
import json
import math
import types

import pytest

from experiments import selective_copying
from experiments.harness import runner
from experiments.harness.runner import carried_out, carry_out, experiment, finished
from experiments.harness.table import Table
from experiments.harness.training import Measurement
from keras_griffin.files.folder_lock import folder_lock

pytestmark = pytest.mark.any_backend


@pytest.fixture
def trained(monkeypatch):
    """The runs that are carried out, of which none is trained."""
    runs = []

    def train(run, folder, make_batch, test, optimizer, make_model):
        runs.append(run)
        measured = [("parameters", 1), ("token_accuracy", 0.5)]
        measured.append(("loss", abs(math.log2(run.learning_rate / 2e-3))))
        return [Measurement(run.setting, 0, metric, value) for metric, value in measured]

    monkeypatch.setattr(runner, "train", train)
    monkeypatch.setattr(runner, "PATIENCE", 0.01)
    return runs


def test_every_run_is_carried_out_once_and_the_table_is_in_the_order_of_the_plan(trained, tmp_path):
    table = carry_out(selective_copying, "small", (0, 1), tmp_path)
    assert len(trained) == len({run.identity for run in trained}) == 15 + 3
    assert [trial.run for trial in table.trials()] == [
        run.identity for run in selective_copying.plan("small", (0, 1), table)
    ]
    assert carry_out(selective_copying, "small", (0, 1), tmp_path).rows == table.rows and len(trained) == 18
    # One more seed is one run of each family.
    carry_out(selective_copying, "small", (0, 1, 2), tmp_path)
    assert len(trained) == 18 + 3


def test_a_run_that_trains_nothing_has_no_rate(tmp_path, capsys):
    _, (run, *_) = finished(selective_copying, "small", (0,), tmp_path)
    run = dataclasses.replace(run, learning_rate=None)
    measured = [Measurement(run.setting, 0, "parameters", 1), Measurement(run.setting, 0, "seconds", 1)]
    assert carried_out(types.SimpleNamespace(measure=lambda run, folder: measured), run, tmp_path)
    assert f"{run.identity}: MQA, 8 in 64, seed 0\n" in capsys.readouterr().out
    rows = json.loads((tmp_path / run.identity / "result.json").read_text())["rows"]
    assert {row[3] for row in rows} == {""} and Table(rows).trials()[0].learning_rate is None


def test_the_runs_of_a_report_are_not_repeated(trained, tmp_path):
    table = carry_out(selective_copying, "small", (0,), tmp_path / "here")
    assert carry_out(selective_copying, "small", (0,), tmp_path / "there", table).rows == table.rows
    assert len(trained) == len(table.trials())
    # What was found there is still to be told from what was not.
    _, waiting = finished(selective_copying, "small", (0,), tmp_path / "there", table)
    assert not waiting and finished(selective_copying, "small", (0,), tmp_path / "there")[1]


def test_a_run_that_another_process_has_is_left_to_it(trained, tmp_path):
    _, waiting = finished(selective_copying, "small", (0,), tmp_path)
    (tmp_path / waiting[0].identity).mkdir()
    with folder_lock(tmp_path / waiting[0].identity / "lock"):
        assert [carried_out(selective_copying, run, tmp_path) for run in waiting[:2]] == [False, True]
    assert trained == [waiting[1]]
    # The other process has ended without a result.
    assert carried_out(selective_copying, waiting[0], tmp_path) and trained == [waiting[1], waiting[0]]


def test_every_experiment_has_what_the_runner_needs():
    for name in runner.NAMES:
        module = experiment(name)
        assert isinstance(module, types.ModuleType) and set(module.SIZES) == {"smoke", "small", "paper"}
        assert all(getattr(module, part) for part in ("TITLE", "FIGURE", "PAPER", "DIFFERS"))
        assert isinstance(module.CLAIMS, tuple)
        parts = ("measure",) if hasattr(module, "measure") else ("make_batch", "test")
        assert all(callable(getattr(module, part)) for part in ("plan", "columns", "draw", *parts))


def test_an_experiment_that_trains_no_language_model_measures_its_runs_itself(tmp_path):
    def measure(run, folder):
        return [Measurement(run.setting, 0, "parameters", 0), Measurement(run.setting, 0, "seconds", 1.5)]

    module = types.SimpleNamespace(plan=selective_copying.plan, measure=measure)
    table, (run, *_) = finished(module, "small", (0,), tmp_path)
    assert carried_out(module, run, tmp_path)
    table, _ = finished(module, "small", (0,), tmp_path)
    assert table.value(table.trials()[0], "seconds") == 1.5 and table.last_step(table.trials()[0]) == 0
