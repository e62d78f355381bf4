import dataclasses

import numpy as np
import pytest

from experiments import resets
from experiments.harness.table import Table
from experiments.models.actor_critic import Rollout
from experiments.resets import CLAIMS, LSTM, WITH, WITHOUT, make_agent, measure, plan, turns_of
from tests.experiments import made_up


def table_of(share, steps=lambda policy, seed: 800_000, seeds=(0, 1, 2)):
    """The results of shares of right turns, a function of the policy, the seed and the corridor.

    The steps to 95 % are one of the policy and the seed.
    """

    def tests(run):
        for corridor in run.data["corridors"]:
            yield resets.of_corridor(corridor), "test_accuracy", share(run.family, run.seed, corridor)

    return made_up.carried_out(resets, "small", seeds, lambda run: steps(run.family, run.seed), tests)


def verdicts(share):
    return [claim.judge(table_of(share)) for claim in CLAIMS]


def words(share):
    return [verdict.word for verdict in verdicts(share)]


def as_expected(policy, seed, corridor):
    return {WITH: 0.99, WITHOUT: 1 - corridor / 400, LSTM: 1.0 if corridor < 50 else 0.5}[policy]


def replaced(own, share):
    """As expected, but for a policy, which is here a function of the seed and the corridor."""
    return lambda policy, seed, corridor: (
        share(seed, corridor) if policy == own else as_expected(policy, seed, corridor)
    )


@pytest.mark.any_backend
def test_what_the_claims_say_is_reproduced():
    found = verdicts(as_expected)
    assert [verdict.word for verdict in found] == 3 * ["reproduced"]
    assert found[0].evidence == "right turns in %, by seed: 99.0, 99.0, 99.0"
    assert found[1].evidence.endswith("without resets 75.0, 75.0, 75.0; with resets 99.0, 99.0, 99.0")
    assert found[2].evidence.endswith(
        "LSTM 50.0, 50.0, 50.0; with resets 99.0, 99.0, 99.0; "
        "steps to 95 %: 819,200 for 819,200, 819,200 for 819,200, 819,200 for 819,200"
    )


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("share", "expected"),
    [
        # Only the corridor of 100 counts.
        (replaced(WITHOUT, lambda seed, corridor: 0.9 if corridor == 100 else 1.0), 3 * ["reproduced"]),
        (replaced(WITHOUT, lambda seed, corridor: 1.0), ["reproduced", "not reproduced", "reproduced"]),
        (replaced(WITHOUT, lambda seed, corridor: 0.9 if seed else 0.98), ["reproduced", "partly", "reproduced"]),
        # Better, but by less than the tolerance.
        (replaced(LSTM, lambda seed, corridor: 1.0), 3 * ["reproduced"]),
        (replaced(WITH, lambda seed, corridor: 0.6), 3 * ["undecided"]),
        (lambda policy, seed, corridor: 0.6 if policy == WITH else 1.0, ["not reproduced", "undecided", "undecided"]),
        (
            lambda policy, seed, corridor: {WITH: 0.96, WITHOUT: 0.9, LSTM: 1.0}[policy],
            ["reproduced", "reproduced", "partly"],
        ),
    ],
)
def test_each_way_to_fail(share, expected):
    assert words(share) == expected


@pytest.mark.any_backend
def test_an_lstm_that_learns_sooner_is_better():
    def verdict_of(share, steps):
        return CLAIMS[2].judge(table_of(share, lambda policy, seed: steps if policy == LSTM else 800_000))

    sooner = verdict_of(as_expected, 300_000)
    assert sooner.word == "partly" and "steps to 95 %: 327,680 for 819,200" in sooner.evidence
    both = verdict_of(lambda policy, seed, corridor: 1.0 if policy == LSTM else 0.96, 300_000)
    assert both.word == "not reproduced"
    never = verdict_of(as_expected, float("inf"))
    assert never.word == "reproduced" and "never for 819,200" in never.evidence


@pytest.mark.any_backend
def test_what_has_not_finished_is_left_out():
    table = table_of(as_expected)
    last = table.trials()[-1].run
    shorter = Table(row for row in table.rows if row.run != last)
    assert [claim.judge(shorter).word for claim in CLAIMS] == 3 * ["reproduced"]
    assert [len(axes.lines) for axes in resets.draw(shorter).axes] == [2 * 3 + 1] * 2
    # One policy, as in the smallest scale; and runs without tests.
    alone = Table(row for row in table.rows if row.family == WITH)
    untested = made_up.carried_out(resets, "small", (0,), lambda run: 900)
    for found in (alone, untested):
        assert [claim.judge(found).word for claim in CLAIMS] == 3 * ["undecided"]
        resets.draw(found)


@pytest.mark.any_backend
def test_every_policy_is_searched_at_the_same_rates_and_has_every_seed():
    runs = plan("small", (0, 1, 2), Table())
    assert {(run.family, run.learning_rate) for run in runs} == {
        (policy, rate) for policy in (WITH, WITHOUT, LSTM) for rate in (1e-3, 3e-3)
    }
    assert len(table_of(as_expected).trials()) == 3 * (2 + 2)
    assert {run.steps for run in runs} == {1000 * 32 * 128} and runs[0].setting == "corridors of 20 to 100"


@pytest.mark.any_backend
def test_shares_and_nats_are_those_of_the_turns_at_junctions():
    logits = np.log([[[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]]])
    rollout = Rollout(
        state=[],
        seen=np.zeros((1, 3, 3)),
        is_start=np.zeros((1, 3), bool),
        is_junction=np.array([[True, True, False]]),
        corridors=np.zeros((1, 3)),
        outputs=np.concatenate([logits, np.ones((1, 3, 1))], axis=-1),
        turns=np.array([[0, 0, 1]]),
        rewards=np.array([[1.0, -1.0, 0.0]]),
    )
    share, nats = turns_of([rollout])
    assert share == 0.5
    np.testing.assert_allclose(nats, -(np.log(0.9) + np.log(0.8)) / 2)
    assert turns_of([rollout, rollout]) == (share, nats)


#: With the policy that compiles in the least time.
RUN = dataclasses.replace(plan("smoke", (0,), Table())[0], family=LSTM)


@pytest.mark.trainable
def test_a_run_gives_the_same_numbers_again(tmp_path):
    first, again = ([row for row in measure(RUN, tmp_path) if row.metric != "seconds"] for _ in range(2))
    assert first == again
    assert [row.metric for row in first] == ["parameters", *2 * ["token_accuracy", "loss"], *2 * ["test_accuracy"]]
    assert first[0].value == make_agent(RUN).policy.count_params() and first[-1].step == RUN.steps
    assert not list(tmp_path.iterdir())
