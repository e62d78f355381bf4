import bz2
import gzip
import lzma
import math
import types
import zlib

import numpy as np
import pytest

from experiments import english
from experiments.__main__ import main
from experiments.data import long_text
from experiments.english import AFTER, ALONE, columns, overlapping_rows, parts, plan, refusal
from experiments.harness import by_group
from experiments.harness.report import page, run_table, summary
from experiments.harness.table import Table
from experiments.harness.training import TRAINING, VALIDATION
from tests.experiments import made_up

pytestmark = pytest.mark.any_backend


@pytest.fixture
def novel(tmp_path, monkeypatch):
    """A packed file of 20,000 bytes, of which the last tenth is held out."""
    path = tmp_path / "novel.gz"
    path.write_bytes(gzip.compress(np.random.default_rng(0).integers(97, 101, size=20_000, dtype="uint8").tobytes()))
    monkeypatch.setenv(long_text.VARIABLE, str(path))
    return path


@pytest.fixture
def no_text(tmp_path, monkeypatch):
    """A machine without a text."""
    monkeypatch.delenv(long_text.VARIABLE, raising=False)
    monkeypatch.setattr(english, "DICTIONARY", tmp_path / "gcide.dict.dz")


def table_of(bits, seeds=(0,)):
    """The results of bits per byte, a function of the family, the setting and the rate."""
    return made_up.carried_out(
        english,
        "small",
        seeds,
        lambda run: math.inf,
        lambda run: [(run.setting, "bits_per_byte", bits(run.family, run.setting, run.learning_rate))],
    )


def run_of(family, setting=None, scale="small"):
    return next(
        run for run in plan(scale, (0,), Table()) if run.family == family and run.setting == (setting or run.setting)
    )


@pytest.mark.trainable
def test_without_a_text_it_is_refused_in_a_sentence(no_text, tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["english", "--runs", str(tmp_path / "runs"), "--output", str(tmp_path / "reports")])
    assert str(caught.value) == (
        f"english: the text must be {tmp_path}/gcide.dict.dz, which `apt-get install dict-gcide` installs on Debian, "
        "or the file that EXPERIMENTS_TEXT names. Got neither."
    )
    assert not refusal("smoke")
    main(["english", "--list", "--runs", str(tmp_path / "runs")])
    assert "0 finished, 12 to run" in capsys.readouterr().out


def test_a_packed_file_is_split_in_three(novel):
    run = run_of("Hawk")
    assert not refusal("small") and run.data["text"].startswith("novel.gz ")
    text, whole = parts(run), np.frombuffer(gzip.decompress(novel.read_bytes()), "uint8")
    np.testing.assert_array_equal(np.concatenate(text), whole)
    # Half of what is held out is measured, cut to halves of rows.
    assert [len(part) for part in text] == [18_000, 896, 1104] and 896 == 1000 // 128 * 128
    novel.write_bytes(gzip.compress(bytes(5000)))
    long_text._corpus.cache_clear()
    with pytest.raises(ValueError, match=r"english: the held-out part .* more than 512 bytes\. Got 500 from novel.gz"):
        parts(run_of("Hawk"))


def test_training_validation_and_measurement_read_different_parts(monkeypatch):
    held_out = np.repeat(np.array([1, 2], "uint8"), 5 * 256)
    text = types.SimpleNamespace(train=np.zeros(5000, "uint8"), validation=held_out)
    monkeypatch.setattr(english, "corpus", lambda otherwise: text)
    run = run_of("MQA")
    found = [set(english.make_batch(run, 3, seed).token_ids.ravel()) for seed in (TRAINING, VALIDATION)]
    assert found == [{0}, {2}] and set(parts(run).tested) == {1} and len(parts(run).tested) == 5 * 256


def test_each_byte_is_measured_once_after_half_a_row():
    before, data = np.arange(20, dtype="uint8"), np.arange(20, 44, dtype="uint8")
    rows, due = overlapping_rows(before, data, 8)
    assert rows.shape == (6, 9) and due == 4
    np.testing.assert_array_equal(rows[:, -due:].ravel(), data)
    np.testing.assert_array_equal(np.diff(rows, axis=1), 1)


def test_bits_are_those_of_the_measured_bytes(novel):
    run, read = run_of("Griffin"), []

    def score(rows):
        """log2 p is -3 for each byte of the second half of a row, and nothing counts of the first."""
        read.append(len(rows))
        nats = np.full(rows.shape, -np.inf, "float32")
        nats[:, rows.shape[1] // 2 + 1 :] = -3 * math.log(2)
        return nats

    whole, *parts_of_it = english.test(run, types.SimpleNamespace(score=score))
    assert whole == (run.setting, "bits_per_byte", pytest.approx(3)) and sum(read) == 896 // 128
    assert [found for _, _, found in parts_of_it] == [pytest.approx(3)] * 7


@pytest.mark.parametrize(
    ("family", "compress"), [("zlib", zlib.compress), ("bz2", bz2.compress), ("lzma", lzma.compress)]
)
def test_compressors_are_measured_alone_and_after_the_training_part(novel, tmp_path, family, compress):
    text = parts(run_of("MQA"))
    rows = {setting: english.measure(run_of(family, setting), tmp_path) for setting in (ALONE, AFTER)}
    for setting, measured in rows.items():
        assert [row.metric for row in measured] == ["parameters", "bits_per_byte", "seconds"]
        assert {row.setting for row in measured} == {setting} and math.isnan(measured[0].value)
    alone, after = (rows[setting][1].value for setting in (ALONE, AFTER))
    # Four letters need two bits.
    assert 2 < after < alone < 4
    assert alone == pytest.approx(8 * len(compress(text.tested.tobytes())) / len(text.tested), rel=0.1)


def test_the_plan_has_models_at_two_rates_and_compressors_once():
    table = table_of(lambda family, setting, rate: 2.0, (0, 1))
    assert [(trial.family, trial.setting, trial.learning_rate, trial.seed) for trial in table.trials()] == [
        *((family, "rows of 256 bytes", rate, 0) for family in ("MQA", "Griffin", "Hawk") for rate in (2e-3, 4e-3)),
        *((family, "rows of 256 bytes", 2e-3, 1) for family in ("MQA", "Griffin", "Hawk")),
        *((family, setting, None, 0) for family in ("zlib", "bz2", "lzma") for setting in (ALONE, AFTER)),
    ]


def test_the_report_has_no_claims_and_compressors_have_no_rate():
    table = table_of(lambda family, setting, rate: 1.5 if family in english.FAMILIES else 2.25)
    text = page(english, "english", table)
    assert "verdict" not in text and "| --- | --- |" not in text.split("![")[0] and english.RATES in text
    assert summary(english, table) == run_table(english, table)
    hawk, lzma_after = run_table(english, table).splitlines()[7], run_table(english, table).splitlines()[-1]
    assert hawk.startswith("| Hawk | rows of 256 bytes | 0.004 (not kept) | 0 |") and "| 1.500 |" in hawk
    assert lzma_after.startswith("| lzma | the training part |  | 0 |") and "|  |  | 2.250 |" in lzma_after
    assert columns(table, table.trials()[0])["bits per byte, measured"] == "1.500"


def test_a_difference_from_attention_has_an_interval():
    def tests(run):
        return [(run.setting, *part) for part in by_group.parts("bits_per_byte", np.arange(3.0) + len(run.family))]

    table = made_up.carried_out(english, "small", (0,), lambda run: math.inf, tests)
    found = {trial.family: columns(table, trial)["less those of MQA"] for trial in table.trials()}
    assert found["Hawk"] == "+1.000 (+1.000 to +1.000)" and found["Griffin"] == "+4.000 (+4.000 to +4.000)"
    assert found["MQA"] == found["zlib"] == ""


def test_a_bar_is_drawn_for_each_that_is_kept():
    table = table_of(lambda family, setting, rate: len(family) + (setting == ALONE) + (rate or 0))
    (axes,) = english.draw(table).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        *("bz2", "MQA", "bz2", "lzma", "zlib", "Hawk", "lzma", "zlib", "Griffin"),
    ]
    assert [round(bar.get_width(), 3) for bar in axes.patches] == [3, 3.002, 4, 4, 4, 4.002, 5, 5, 7.002]
    only = {trial.run for trial in table.trials("zlib")}
    assert len(english.draw(Table(row for row in table.rows if row.run in only)).axes[0].patches) == 2
