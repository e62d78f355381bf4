from argparse import Namespace
from pathlib import Path

from keras_griffin.commands.train_resume import as_notes, describe_going_on, saved_run


def test_the_command_that_goes_on_can_be_pasted():
    assert describe_going_on(Path("runs/a")) == "Go on with: python -m keras_griffin train --resume runs/a"
    assert describe_going_on(Path("my runs/a")).endswith(" --resume 'my runs/a'")


def test_notes_hold_whatever_the_folder_one_goes_on_from(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    notes = as_notes(Namespace(files=["a.txt", "/b.txt"], width=3), epochs=2, num_batches=5)
    assert notes == {
        "arguments": {"files": [str(tmp_path / "a.txt"), "/b.txt"], "width": 3},
        "epochs": 2,
        "num_batches": 5,
    }


def test_a_folder_without_a_run_is_one_that_has_not_begun(tmp_path):
    assert not saved_run(tmp_path).is_begun
