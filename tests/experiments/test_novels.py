import numpy as np
import pytest

from experiments import long_context, novels
from experiments.__main__ import main
from experiments.data import long_text
from experiments.harness.table import Table
from experiments.harness.training import TRAINING, VALIDATION
from tests.experiments.data.test_novels import packed, serialised

pytestmark = pytest.mark.any_backend


@pytest.fixture
def six(tmp_path, monkeypatch):
    """Six novels of one letter each, after their titles."""
    objects = [
        serialised([title.encode(), letter.encode() * 500])
        for title, letter in zip(["1", "2", "3", "Persuasion", "5", "6"], "abcdef", strict=True)
    ]
    path = tmp_path / "Rdata.rdb"
    path.write_bytes(b"".join(map(packed, objects)))
    monkeypatch.delenv(long_text.VARIABLE, raising=False)
    monkeypatch.setattr(novels, "NOVELS", path)
    return path


@pytest.mark.trainable
def test_without_the_package_it_is_refused_in_a_sentence(six, tmp_path):
    six.unlink()
    with pytest.raises(SystemExit) as caught:
        main(["novels", "--runs", str(tmp_path / "runs"), "--output", str(tmp_path / "reports")])
    assert str(caught.value) == (
        f"novels: the text must be {six}, which `apt-get install r-cran-janeaustenr` installs on Debian, or the file "
        "that EXPERIMENTS_TEXT names. Got neither."
    )
    assert not novels.refusal("smoke") and novels.plan("small", (0,), Table())[0].data["text"] == "no text"


def test_the_runs_are_those_of_long_contexts_on_another_text(six):
    """So that the two figures differ in nothing else."""
    ours, theirs = (module.plan("small", (0,), Table()) for module in (novels, long_context))
    assert len(ours) == len(theirs) == 6 and ours[0].data["text"].startswith("Rdata.rdb ")
    for own, other in zip(ours, theirs, strict=True):
        changed = {"text": own.data["text"], "windows": 64}
        expected = {**other.describe(), "experiment": "novels", "data": {**other.data, **changed}}
        assert own.describe() == expected and own.identity != other.identity


def test_a_whole_novel_is_held_out(six):
    run = novels.plan("small", (0,), Table())[0]
    run.data["length"] = 20
    letters = {
        seed: bytes(sorted(set(novels.make_batch(run, 400, seed).token_ids.ravel()))).strip()
        for seed in (TRAINING, VALIDATION)
    }
    assert letters[TRAINING].isalnum() and set(b"abcef") <= set(letters[TRAINING]) and ord("d") not in letters[TRAINING]
    assert set(letters[VALIDATION]) <= set(b"Persuasiond") and ord("d") in letters[VALIDATION]
    # Windows of it, to its end.
    np.testing.assert_array_equal(long_text.held_out_windows(9, 100, six)[1:], np.full((4, 100), ord("d")))
