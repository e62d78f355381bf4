import itertools

import keras
import numpy as np
import pytest

from experiments import forecasting
from experiments.data.adding_problem import BASELINE, adding_problem
from experiments.data.series import Forecast, mackey_glass, windows
from experiments.forecasting import CLAIMS, FORECASTS, plan
from experiments.harness.by_group import grouped
from experiments.harness.table import Table
from experiments.models.sequence_models import LAYERS, RING
from tests.experiments import made_up

pytestmark = pytest.mark.any_backend


def table_of(nrmse, mse=lambda layer, seed: 0.001, seeds=(0, 1), noise=0.0):
    """The results of errors, functions of the layer, the series and the seed, or of the layer and the seed.

    RGLRU's squared errors differ from block to block by the noise, in units of their mean.
    """

    def tests(run):
        spread = noise if run.family == "RGLRU" else 0.0
        if run.setting in FORECASTS:
            yield run.setting, "test_nrmse", nrmse(run.family, run.setting, run.seed)
            yield run.setting, "naive_nrmse", 0.8
            # Blocks of forecasts, of which the last is four times as hard as the others.
            blocks = np.array([1.0, 1.0, 1.0, 4.0]) * 4 / 7 + spread * np.array([1, -1, 1, -1])
            yield from grouped(run.setting, "squared_error", nrmse(run.family, run.setting, run.seed) ** 2 * blocks)
        else:
            yield run.setting, "test_mse", mse(run.family, run.seed)
            yield run.setting, "naive_mse", BASELINE
        yield run.setting, "cpu_seconds", 100.0

    return made_up.carried_out(forecasting, "small", seeds, lambda run: 900, tests)


def words(nrmse=lambda *_: 0.3, mse=lambda *_: 0.001):
    table = table_of(nrmse, mse)
    return [claim.judge(table).word for claim in CLAIMS]


def test_what_the_claims_say_is_reproduced():
    table = table_of(lambda layer, name, seed: 0.3 * (1.04 if layer in ("RGLRU", RING) else 1) + 0.1 * seed)
    found = [claim.judge(table) for claim in CLAIMS]
    assert [verdict.word for verdict in found] == 6 * ["reproduced"]
    assert found[0].evidence == (
        "NRMSE of RGLRU for that of LSTM, by seed: 0.312 for 0.300, 0.412 for 0.400; naive forecast 0.800"
    )
    assert found[4].evidence.startswith("mean squared error, by seed: RGLRU 0.0010, 0.0010; RGLRU, ring 0.0010")
    assert found[5].evidence.startswith(
        "NRMSE of RGLRU, ring for that of LSTM, by seed: Mackey-Glass 0.312 for 0.300, 0.412 for 0.400; sea temperature"
    )


def test_each_series_has_its_verdict():
    def nrmse(layer, name, seed):
        worse = {"Mackey-Glass": 1.06, "sea temperature": 0.5, "carbon dioxide": 1.06 if seed else 1.0, "sunspots": 1.0}
        return 0.3 * (worse[name] if layer == "RGLRU" else 1)

    assert words(nrmse) == ["not reproduced", "reproduced", "partly", "reproduced", "reproduced", "reproduced"]


def test_a_difference_within_the_noise_of_the_blocks_decides_nothing():
    found = CLAIMS[0].judge(table_of(lambda *_: 0.3, noise=0.5))
    assert found.word == "undecided" and "0.300 for 0.300 (not certain)" in found.evidence
    assert CLAIMS[0].judge(table_of(lambda *_: 0.3, noise=0.01)).word == "reproduced"


def test_models_that_do_not_beat_the_naive_forecast_decide_nothing():
    assert words(lambda *_: 0.81)[:4] == 4 * ["undecided"]
    assert words(lambda layer, *_: 0.81 if layer == "LSTM" else 0.79)[:4] == 4 * ["reproduced"]
    assert words(lambda layer, *_: 0.81 if layer == "RGLRU" else 0.7)[:4] == 4 * ["not reproduced"]


def test_the_sum_must_be_found_by_rglru_if_any_layer_finds_it():
    assert words(mse=lambda layer, seed: 0.0101 if layer == "RGLRU" else 0.0)[4] == "not reproduced"
    assert words(mse=lambda layer, seed: 0.17 if layer != "RGLRU" or seed else 0.009)[4] == "partly"
    assert words(mse=lambda layer, seed: 0.17 if layer == "RGLRU" and seed else 0.009)[4] == "partly"
    assert words(mse=lambda *_: 0.17)[4] == "undecided"


def test_what_has_not_finished_is_left_out():
    table = table_of(lambda *_: 0.3)
    unfinished = {table.trials("LSTM", "sunspots")[-1].run, table.trials("GRU", "sums, 800 steps")[-1].run}
    shorter = Table(row for row in table.rows if row.run not in unfinished)
    assert CLAIMS[3].judge(shorter).evidence.endswith("by seed: 0.300 for 0.300; naive forecast 0.800")
    assert CLAIMS[4].judge(shorter).evidence.endswith("GRU 0.0010")
    # A dot and a line for each run on four series, and the runs on the longest sums with the error that solves them.
    assert [len(axes.lines) for axes in forecasting.draw(shorter).axes] == [2 * (4 * 5 * 2 - 1), 5 * 2 - 1 + 1]
    few = Table(row for row in table.rows if row.setting == "sunspots")
    assert [claim.judge(few).word for claim in CLAIMS] == [
        *3 * ["undecided"],
        "reproduced",
        "undecided",
        "reproduced",
    ]
    assert len(forecasting.draw(few).axes) == 2
    smoke = made_up.carried_out(forecasting, "smoke", (0,), lambda run: 2)
    assert [claim.judge(smoke).word for claim in CLAIMS] == 6 * ["undecided"]
    assert len(forecasting.draw(smoke).axes) == 2


def test_the_plan_has_a_search_on_each_task_and_then_the_seeds():
    runs = plan("small", (0, 1), Table())
    assert [(run.setting, run.family, run.learning_rate) for run in runs] == [
        (setting, layer, rate)
        for setting in (*FORECASTS, "sums, 200 steps")
        for layer in LAYERS
        for rate in (2e-3, 8e-3)
    ]
    # The rates of the longer sums are those of the shorter.
    assert len(table_of(lambda *_: 0.3).trials()) == 5 * (5 * (2 + 1) + 2)
    assert dict(runs[0].data) == {"width": 32, **FORECASTS["Mackey-Glass"]._asdict()}
    assert dict(runs[-1].data) == {"width": 32, "length": 200, "test_rows": 1000}
    assert {run.batch_size for run in runs[:-10]} == {16} and {run.batch_size for run in runs[-10:]} == {32}
    assert all(forecast.lag >= forecast.ahead for forecast in FORECASTS.values())


def test_the_sum_follows_from_the_marks():
    part = adding_problem(500, 11, seed=1)
    for features, target in zip(part.features, part.targets, strict=True):
        marked = [step for step in range(11) if features[step, 1]]
        assert len(marked) == 2 and marked[0] < 5 <= marked[1]
        assert target == features[marked[0], 0] + features[marked[1], 0]
    places = {tuple(np.flatnonzero(row)) for row in part.features[..., 1]}
    assert places == set(itertools.product(range(5), range(5, 11)))
    assert part.targets.shape == (500, 1) and not np.array_equal(part.targets, adding_problem(500, 11, seed=2).targets)
    assert np.mean((adding_problem(20_000, 4, seed=3).targets - 1) ** 2) == pytest.approx(BASELINE, rel=0.05)


def test_mackey_glass_is_that_of_a_finer_step():
    found, fine = mackey_glass(400), mackey_glass(400, step=0.02)
    np.testing.assert_allclose(found, fine, atol=2e-3)
    assert found.std() > 0.1 and np.abs(found - found.mean()).max() < 1
    # Before the delay has passed there is a solution in closed form, as the delayed value is constant.
    decay = np.exp(-0.1 * np.arange(18))
    level = 2 * 1.2 / (1 + 1.2**10)
    np.testing.assert_allclose(found[:18], level + (1.2 - level) * decay, atol=1e-8)


@pytest.mark.parametrize("changes", [False, True])
def test_windows_forecast_what_comes_later_from_what_is_known(changes):
    values = np.cumsum(np.random.default_rng(0).normal(size=400))
    forecast = Forecast("made up", ahead=3, lag=5, context=8, due=4, changes=changes)
    task, naive, block = windows(values, forecast)
    # The forecasts of a window, as no other divisor of theirs is as many as they are ahead.
    assert block == 4
    # A window's steps are found by their features, and what was forecast there by brute force.
    known = np.diff(values) if changes else values
    later = [values[step + 1 + 3] - values[step + 1] if changes else values[step + 3] for step in range(len(known) - 3)]
    trained = round(0.7 * len(later)) - 3
    known, later = ((each - np.mean(each[:trained])) / np.std(each[:trained]) for each in (known, np.array(later)))
    steps = {}
    for name, part in {"train": task.sample(2000, 1), "validation": task.validation, "test": task.test}.items():
        assert part.features.shape[1:] == part.targets.shape[1:] == (12, 1)
        starts = [int(np.abs(known - row[0, 0]).argmin()) for row in part.features]
        for row, start in enumerate(starts):
            np.testing.assert_allclose(part.features[row, :, 0], known[start : start + 12], rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(part.targets[row, :, 0], later[start : start + 12], rtol=1e-4, atol=1e-5)
        assert part.weights.mean() == 1 and not part.weights[:, :8].any()
        steps[name] = [start + step for start in starts for step in range(8, 12)]
        if name == "test":
            expected = [[later[start + step - 5] for step in range(12)] for start in starts]
            np.testing.assert_allclose(naive[..., 0], expected)
    assert set(steps["train"]) == set(range(8, trained))
    for name in ("validation", "test"):
        assert steps[name] == list(range(steps[name][0], steps[name][-1] + 1))
    # Nothing that training forecasts is later than what validation begins to know, and so on.
    assert max(steps["train"]) + 3 < min(steps["validation"]) and max(steps["validation"]) + 3 < min(steps["test"])
    assert len(later) - 4 < max(steps["test"]) + 1 <= len(later)


@pytest.mark.trainable
def test_errors_are_relative_to_the_deviation():
    values = np.sin(2 * np.pi * np.arange(300) / 10) + 3
    made = windows(values, Forecast("made up", ahead=2, lag=10, context=5, due=10))
    task = made.task
    inputs = keras.Input((15, 1))
    # A forecast that is 0.1 deviations too high, but in the context.
    model = keras.Model(inputs, inputs)
    model.compile("sgd", "mse")
    shifted = task._replace(test=task.test._replace(features=task.test.targets + 0.1))
    shifted.test.features[:, :5] = 9.0
    # In one block.
    shifted.test.targets[-1, -1] -= 0.1
    found = dict(forecasting.test_forecasts(model, shifted, made))
    due = task.test.weights > 0
    deviation = task.test.targets[due].std()
    squares = [found.pop(f"squared_error_of_group_{place}") for place in range(5 * len(shifted.test.targets))]
    assert squares == pytest.approx([0.01 / deviation**2] * (len(squares) - 1) + [0.025 / deviation**2], rel=1e-3)
    mean = np.mean(squares)
    assert found == {
        "test_nrmse": pytest.approx(mean**0.5),
        "naive_nrmse": pytest.approx((0.01 / due.sum()) ** 0.5 / deviation, rel=1e-3),
        "squared_error": pytest.approx(mean),
    }
