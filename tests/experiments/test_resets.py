import dataclasses

import numpy as np
import pytest

from experiments import resets
from experiments.actor_critic import Rollout
from experiments.resets import CLAIMS, LSTM, WITH, WITHOUT, make_agent, measure, plan, turns_of
from experiments.table import Table
from tests.experiments import made_up


def table_of(share, seeds=(0, 1, 2)):
    """The results of shares of right turns, a function of the policy, the seed and the corridor."""

    def tests(run):
        for corridor in run.data["corridors"]:
            yield resets.of_corridor(corridor), "test_accuracy", share(run.family, run.seed, corridor)

    return made_up.carried_out(resets, "small", seeds, lambda run: 800_000, tests)


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
    assert found[2].evidence.endswith("LSTM 50.0, 50.0, 50.0; with resets 99.0, 99.0, 99.0")


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("share", "expected"),
    [
        # Only the corridor of 100 counts.
        (replaced(WITHOUT, lambda seed, corridor: 0.97 if corridor == 100 else 1.0), 3 * ["reproduced"][:1] and None),
        (replaced(WITHOUT, lambda seed, corridor: 1.0), ["reproduced", "not reproduced", "reproduced"]),
        (replaced(WITHOUT, lambda seed, corridor: 0.9 if seed else 0.98), ["reproduced", "partly", "reproduced"]),
        (replaced(LSTM, lambda seed, corridor: 1.0), ["reproduced", "reproduced", "reproduced"]),
        (replaced(WITH, lambda seed, corridor: 0.6), ["undecided", "undecided", "undecided"]),
        (lambda policy, seed, corridor: 0.6 if policy == WITH else 1.0, ["not reproduced", "undecided", "undecided"]),
        (
            lambda policy, seed, corridor: {WITH: 0.96, WITHOUT: 0.9, LSTM: 1.0}[policy],
            ["reproduced", "reproduced", "not reproduced"],
        ),
    ],
)
def test_each_way_to_fail(share, expected):
    assert words(share) == expected
