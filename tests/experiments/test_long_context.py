import math

import numpy as np
import pytest

from experiments import long_context
from experiments.data import long_text
from experiments.harness.by_group import grouped
from experiments.harness.further import WAYS
from experiments.harness.table import Table
from tests.experiments.harness import made_up

pytestmark = pytest.mark.any_backend


def nats(run, context, gain=0.1):
    """Each doubling up to the length of training helps; beyond it RoPE fails, and recurrences gain half as much."""
    length = run.data["length"]
    helpful = min(context, length)
    fails = run.family == "MQA" and context > length
    beyond = 0.5 * gain * max(0.0, math.log2(context / length))
    # Longer rows are a little worse at first.
    worse = 0.03 if length == 1024 and context < 256 else 0.0
    return 3.0 - gain * math.log2(helpful) + (1.0 if fails else -beyond) + worse + 0.001 * run.seed


def table(nats=nats):
    def tests(run):
        noise = 0.001 * np.arange(-4, 5)
        for context in run.data["contexts"]:
            yield from grouped(long_context.after(context), "nats", nats(run, context) + noise)
            yield long_context.between(context // 2, context), "nats_by_position", nats(run, context)
        if run.data["further_steps"]:
            for words in WAYS:
                yield long_context.after(256, f"500 {words}"), "nats", nats(run, 256) - 0.01
                yield long_context.after(8192, f"500 {words}"), "nats", nats(run, 8192)

    return made_up.carried_out(long_context, "small", (0, 1, 2), made_up.soonest_at(8e-3), tests)


def words(found):
    return [claim.judge(found).word for claim in long_context.CLAIMS]


def test_what_the_paper_found_is_reproduced():
    found = table()
    assert words(found) == ["reproduced"] * 6
    evidence = long_context.CLAIMS[0].judge(found).evidence
    assert "; nats after 8,192 less those after 256 tokens: Griffin -0.250" in evidence
    assert "after 500 further steps: Griffin, further steps, -0.240, -0.240, -0.240; Griffin, further" in evidence


def test_a_text_whose_far_tokens_tell_nothing_decides_nothing_about_them():
    found = table(lambda run, context: nats(run, context, gain=0.0))
    # Nothing is read from far, so nothing says that the Transformer without positions reads at all.
    assert [words(found)[place] for place in (1, 3, 4)] == ["not testable here"] * 3
    # One seed that gains is not enough.
    found = table(lambda run, context: nats(run, context, gain=0.1 * (run.seed == 0)))
    assert [words(found)[place] for place in (1, 3, 4)] == ["not testable here"] * 3


def test_longer_rows_that_are_much_worse_are_not_slightly_worse():
    found = table(lambda run, context: nats(run, context) + 0.2 * (run.data["length"] == 1024 and context < 256))
    assert words(found)[5] == "not reproduced"


def test_every_way_to_train_has_a_search_of_its_own():
    runs = long_context.plan("small", (0, 1), Table())
    ways = {(run.family, run.setting) for run in runs}
    assert ways == {
        *((family, "256 tokens") for family in ("MQA", "Griffin", "Hawk")),
        ("MQA", "256 tokens, NoPE"),
        *((family, "1,024 tokens") for family in ("Griffin", "Hawk")),
    }
    assert len(runs) == 3 * len(ways) and {run.seed for run in runs} == {0}


def test_tokens_are_the_text_and_rows_go_on_where_they_have_ended(tmp_path, monkeypatch):
    file = tmp_path / "text.txt"
    file.write_text("".join(f"line {number} of the text\n" for number in range(4000)))
    monkeypatch.setenv("EXPERIMENTS_TEXT", str(file))
    found = long_text.tokens(300)
    assert found.train.max() < 300 and len(found.documents) == 1
    # Held out is the last tenth.
    assert 8 < len(found.train) / len(found.documents[0]) < 10
    run = long_context.plan("smoke", (0,), Table())[0]
    rows = [long_text.next_windows(run, 4, index) for index in range(3)]
    for before, batch in zip(rows, rows[1:], strict=False):
        np.testing.assert_array_equal(before.targets[:, -1], batch.token_ids[:, 0])
        np.testing.assert_array_equal(batch.targets[:, :-1], batch.token_ids[:, 1:])
    assert long_text.held_out_windows(5, 9, None, 300).shape == (5, 9)
    with pytest.raises(ValueError, match="^held_out_windows: a held-out document must have 99,999 tokens. Got none in"):
        long_text.held_out_windows(5, 99_999, None, 300)
    # Another file that the variable names is another text.
    other = tmp_path / "other.txt"
    other.write_text(file.read_text()[:20_000])
    monkeypatch.setenv("EXPERIMENTS_TEXT", str(other))
    assert len(long_text.tokens(300).train) < len(found.train) / 2
