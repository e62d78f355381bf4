import numpy as np
import pytest

from experiments import windows
from experiments.harness.by_group import grouped
from experiments.windows import GLOBAL, GRIFFIN, LOCAL, WITH_RING
from tests.experiments.harness import made_up

pytestmark = pytest.mark.any_backend


def nats_of(run):
    """Griffin leads by 0.3 nats at 256 bytes, 0.2 at 512 and 0.1 at 1,024; local attention is worse by 0.05."""
    length = run.data["length"]
    lead = {GRIFFIN: 0.3 - 0.1 * np.log2(length / 256), WITH_RING: 0.4, LOCAL: -0.05, GLOBAL: 0.0}[run.family]
    return 1.0 - lead + 0.001 * run.seed


def table(gain, nats=nats_of, last_seed_gains=True):
    """The runs; global attention gains so many nats from the far half of a row, or with the last seed none."""

    def tests(run):
        yield run.setting, "nats", nats(run)
        if run.family == GLOBAL:
            own = gain if run.seed < 2 or last_seed_gains else 0.0
            yield from grouped(run.setting, windows.GAIN, own + 0.001 * np.arange(-4, 5))

    return made_up.carried_out(windows, "small", (0, 1, 2), made_up.soonest_at(8e-3), tests)


def words(found):
    return [claim.judge(found).word for claim in windows.CLAIMS]


def test_the_papers_order_is_reproduced():
    found = table(gain=0.1)
    assert words(found) == ["reproduced", "reproduced", "reproduced"]
    assert windows.CLAIMS[0].judge(found).ours == "+0.100 to +0.300 nats, global MQA less Griffin"
    assert "with the ring's decays: 256 bytes +0.400" in windows.CLAIMS[0].judge(found).evidence
    assert windows.CLAIMS[2].judge(found).ours == "+0.050 nats, local less global MQA"


def test_what_local_attention_loses_is_not_testable_where_far_bytes_tell_nothing():
    assert words(table(gain=0.0))[2] == "not testable here"
    assert words(table(gain=0.1, last_seed_gains=False))[2] == "not testable here"
    assert words(table(0.1, lambda run: nats_of(run) - 0.1 * (run.family == LOCAL)))[2] == "not reproduced"


def test_nothing_shrinks_where_griffin_does_not_lead():
    assert words(table(0.1, lambda run: nats_of(run) + 1.0 * (run.family == GRIFFIN)))[:2] == [
        *("not reproduced", "undecided")
    ]


def test_each_model_is_trained_once():
    found = table(gain=0.1)
    kept = {(trial.family, trial.setting, trial.seed) for trial in found.trials() if trial.learning_rate == 8e-3}
    shapes = sorted((family, *windows.shape(setting)) for family, setting, seed in kept if seed == 2)
    assert shapes == [
        *((name, length, 128) for name in (GRIFFIN, WITH_RING) for length in (256, 512, 1024)),
        *((GLOBAL, length, length) for length in (256, 512, 1024)),
        *((LOCAL, *each) for each in ((256, 64), (256, 128), (512, 128), (1024, 128), (1024, 512))),
    ]
    # Two rates beside the kept one, of each family at each length, with one seed.
    assert len(found.trials()) == 3 * len(shapes) + 4 * 3 * 2
