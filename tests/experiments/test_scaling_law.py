import numpy as np
import pytest

from experiments import scaling_law
from experiments.harness.table import Table
from experiments.models.families import RING
from tests.experiments.harness import made_up

pytestmark = pytest.mark.any_backend


def table(hawk=0.05, griffin=-0.1, slope=-0.01, floor=0.0, exponent=0.1):
    """Losses on a line in logarithms; Hawk is above the Transformer by less at greater widths."""

    def tests(run):
        width = run.config.width
        flops = 1e3 * width**4
        nats = floor + 1.1 * (width / 48) ** (-4 * exponent)
        nats += {"Griffin": griffin, "Hawk": hawk + slope * np.log2(width / 48)}.get(run.family.removesuffix(RING), 0.0)
        yield run.setting, "flops", flops
        yield run.setting, "nats", nats + 0.0005 * run.seed - (0.02 if RING in run.family else 0.0)

    return made_up.carried_out(scaling_law, "small", (0, 1, 2), made_up.soonest_at(8e-3), tests)


def words(found):
    return [claim.judge(found).word for claim in scaling_law.CLAIMS]


def test_the_papers_order_is_reproduced():
    found = table()
    assert words(found) == ["reproduced"] * 4
    evidence = scaling_law.CLAIMS[1].judge(found).evidence
    assert "less MQA, width 48 -0.100 (" in evidence and "less MQA, width 160 -0.100 (" in evidence
    assert "less Hawk, width 48 -0.150 (" in evidence and "ring's decays less MQA -0.121 to -0.120 nats" in evidence


def test_a_floor_bends_the_line_and_hawk_below_the_transformer_comes_no_nearer():
    assert words(table(floor=1.0, exponent=0.5))[0] == "not reproduced"
    assert words(table(hawk=-0.05))[2:] == ["not reproduced", "undecided"]
    assert words(table(hawk=-0.2))[1] == "partly"
    assert words(table(hawk=0.05, slope=0.01))[3] == "not reproduced"


def test_rates_are_searched_at_two_widths_and_the_greatest_width_has_one_seed():
    first = scaling_law.plan("small", (0, 1, 2), Table())
    assert {run.config.width for run in first} == {48, 96} and len(first) == 5 * 2 * 3
    found = table()
    seeds = {}
    for trial in found.trials():
        seeds.setdefault((trial.family, trial.setting), set()).add(trial.seed)
    assert {len(each) for (family, name), each in seeds.items() if RING in family or name == "width 160"} == {1}
    assert {len(each) for (family, name), each in seeds.items() if not (RING in family or name == "width 160")} == {3}


def test_a_rate_between_two_widths_is_between_theirs():
    assert scaling_law.rate_at(48, {48: 1e-2, 96: 4e-3}) == 1e-2 == scaling_law.rate_at(32, {48: 1e-2, 96: 4e-3})
    assert scaling_law.rate_at(68, {48: 1e-2, 96: 4e-3}) == pytest.approx(6.3e-3, rel=0.01)
