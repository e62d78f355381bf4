import math

import numpy as np
import pytest

from experiments import complex_recurrence
from experiments.complex_recurrence import CLAIMS, make_batch, make_model, plan
from experiments.harness.by_group import grouped
from experiments.harness.table import Table
from tests.experiments import made_up

#: By how much the complex unit differs from the real one.
DIFFERENCES = {"text": 0.01, "sinusoids": -0.1, "digits": 0.05}


def table_of(differences=DIFFERENCES, noise=0.0, seeds=(0, 1, 2)):
    """The results of differences, by task or by task and seed; rows differ, those of both units alike but for noise."""

    def tests(run):
        found = differences.get((run.setting, run.seed), differences[run.setting])
        common = np.random.default_rng(run.seed).normal(size=320)
        own = found + noise * np.resize([1, -1], 320)
        values = 1.5 + common + (own if run.family == "complex" else 0)
        yield from grouped(run.setting, "nats", values)
        if run.setting == "digits":
            yield from grouped(run.setting, "accuracy", values)
        if run.family == "complex":
            yield from ((run.setting, f"phase_{each}", each / 100) for each in (10, 50, 90))

    return made_up.carried_out(complex_recurrence, "small", seeds, lambda run: math.inf, tests)


def words(**results):
    return [claim.judge(table_of(**results)).word for claim in CLAIMS]


@pytest.mark.any_backend
def test_what_the_claims_say_is_reproduced():
    found = [claim.judge(table_of()) for claim in CLAIMS]
    assert [verdict.word for verdict in found] == 3 * ["reproduced"]
    assert found[0].evidence == (
        "nats, the complex unit less the real one, by seed: +0.010 (+0.010 to +0.010); +0.010 (+0.010 to +0.010)"
    )
    assert found[2].evidence.count("+0.050") == 3 * 3


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("change", "word"), [(-0.03, "not reproduced"), (0.03, "not reproduced"), (-0.01, "reproduced")]
)
def test_on_text_neither_may_be_better(change, word):
    assert words(differences={**DIFFERENCES, "text": change})[0] == word


@pytest.mark.any_backend
def test_elsewhere_the_complex_unit_must_be_better():
    worse = {"text": 0.0, "sinusoids": 0.1, "digits": -0.05}
    assert words(differences=worse) == ["reproduced", "not reproduced", "not reproduced"]
    one = {**DIFFERENCES, ("sinusoids", 1): 0.1, ("digits", 2): -0.1}
    assert words(differences=one) == ["reproduced", "partly", "partly"]
    assert words(noise=3.0) == 3 * ["undecided"]


@pytest.mark.any_backend
def test_what_has_not_finished_is_left_out():
    table = table_of()
    last = table.trials("complex", "digits")[-1].run
    shorter = Table(row for row in table.rows if row.run != last)
    assert [claim.judge(shorter).evidence.count("to") for claim in CLAIMS] == [2, 3, 2]
    tasks = [len(axes.lines) for axes in complex_recurrence.draw(shorter).axes]
    # A line and two markers a seed, and of each seed a line and a marker of phases.
    assert tasks == [2 * 3, 3 * 3, 2 * 3, (2 + 3 + 2) * 2]
    alone = Table(row for row in table.rows if row.family == "complex")
    assert [claim.judge(alone).word for claim in CLAIMS] == 3 * ["undecided"]
    assert sum(len(axes.lines) for axes in complex_recurrence.draw(alone).axes) == 0


@pytest.mark.any_backend
def test_both_units_are_searched_on_each_task():
    runs = plan("small", (3, 4, 5), Table())
    assert {(run.setting, run.family, run.learning_rate, run.seed) for run in runs} == {
        (task, name, rate, 3) for task in DIFFERENCES for name in ("real", "complex") for rate in (2e-3, 4e-3)
    }
    table = table_of(seeds=(3, 4, 5))
    counts = {task: len(table.trials(setting=task)) for task in DIFFERENCES}
    assert counts == {"digits": 2 * 4, "sinusoids": 2 * 4, "text": 2 * 3}
    kept = [trial for trial in table.trials() if complex_recurrence.is_kept(table, trial)]
    assert len(kept) == 2 * (3 + 3 + 2)


@pytest.mark.any_backend
def test_each_task_has_its_rows(monkeypatch):
    runs = {run.setting: run for run in plan("small", (0,), Table())}
    found = []
    for task in ("text", "digits"):
        monkeypatch.setitem(
            complex_recurrence.ROWS, task, lambda run, rows, seed: found.append((run.setting, rows, seed))
        )
        make_batch(runs[task], 3, 7)
    assert found == [("text", 3, 7), ("digits", 3, 7)]
    batch = make_batch(runs["sinusoids"], 3, 7)
    assert batch.token_ids.shape == (3, 128) and batch.token_ids.max() < runs["sinusoids"].config.vocabulary_size
    assert batch.weights.sum() == 3 * 64


@pytest.mark.any_backend
@pytest.mark.parametrize("task", DIFFERENCES)
def test_the_models_differ_by_their_units(task):
    sizes = {}
    for run in plan("small", (0,), Table()):
        if run.setting == task:
            options = {"recurrent": {"unit": run.data["unit"]}}
            config = run.config.replace(block_pattern=("recurrent",), mixer_options=options)
            sizes[run.family] = config.parameter_count()
    # The complex gates have half as many outputs.
    assert 0.95 * sizes["real"] < sizes["complex"] < sizes["real"]


def test_phases_are_those_of_an_open_gate():
    model = make_model(plan("smoke", (0,), Table())[0])
    first = complex_recurrence.phases(model)
    assert first.shape == (8,) and 0 <= first.min() and first.max() <= 0.1 * np.pi
    unit = model.blocks[0].mixer.cg_lru
    unit.phase.assign(np.full(8, -2.0))
    assert complex_recurrence.phases(model).tolist() == 8 * [16]
