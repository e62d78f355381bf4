import zlib
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from keras_griffin.commands.shared import runs
from keras_griffin.commands.shared.errors import CommandError
from keras_griffin.commands.shared.runs import as_notes, check_text, describe_resume, holds_run, open_run
from keras_griffin.tasks.text import Corpus

pytestmark = pytest.mark.any_backend

PLAN = {"epochs": 2, "num_batches": 5, "windows": 7}


def corpus(train=b"train", validation=b"val"):
    return Corpus("", np.frombuffer(train, "uint8"), np.frombuffer(validation, "uint8"), ("a", "b"), ("c",))


def test_the_command_that_goes_on_can_be_pasted(monkeypatch):
    backend = keras.backend.backend()
    monkeypatch.setenv("KERAS_BACKEND", backend)
    line = f"Resume with: KERAS_BACKEND={backend} python -m keras_griffin train --resume runs/a"
    assert describe_resume(Path("runs/a")) == line
    assert describe_resume(Path("my runs/a")).endswith(" --resume 'my runs/a'")
    # Where Keras's own settings choose the backend, they do so again.
    monkeypatch.delenv("KERAS_BACKEND")
    assert describe_resume(Path("runs/a")) == "Resume with: python -m keras_griffin train --resume runs/a"


def test_another_backend_is_refused_by_name(tmp_path, monkeypatch):
    notes = {**as_notes(Namespace(files=[]), corpus(), PLAN), "backend": "mlx"}
    monkeypatch.setattr(runs, "saved_run", lambda folder: SimpleNamespace(is_begun=True, notes=notes))
    with pytest.raises(CommandError) as error:
        open_run(Namespace(command="train", resume=str(tmp_path)))
    assert str(error.value) == (
        "train: --resume must keep the backend that the run began with; set KERAS_BACKEND. "
        f"Got {keras.backend.backend()} instead of mlx."
    )


def test_notes_hold_whatever_the_folder_one_goes_on_from(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = Namespace(files=["a.txt", "/b.txt"], tokenizer="words", width=3)
    notes = as_notes(arguments, corpus(), PLAN)
    assert notes.pop("text") == {"bytes": 8, "files": 3, "crc32": zlib.crc32(b"trainval")}
    assert notes == {
        "arguments": {"files": [str(tmp_path / "a.txt"), "/b.txt"], "tokenizer": str(tmp_path / "words"), "width": 3},
        "backend": keras.backend.backend(),
        **PLAN,
    }


@pytest.mark.parametrize(
    ("now", "received"),
    [
        (corpus(b"train and more"), "17 bytes of 3 files instead of 8 bytes of 3 files"),
        (corpus(b"other"), "8 bytes of 3 files, the same size, but different content"),
    ],
)
def test_another_text_is_refused_in_words(now, received):
    run = SimpleNamespace(notes=as_notes(Namespace(files=[]), corpus(), PLAN))
    check_text(run, corpus())
    with pytest.raises(CommandError) as error:
        check_text(run, now)
    assert str(error.value) == (f"train: --resume must keep the text that the run began with. Got {received}.")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["log.csv", "model.keras"], True),
        (["log.csv", "result.json"], True),
        (["log.csv", "checkpoints"], True),
        (["log.csv"], False),
        (["model.keras"], False),
        ([], False),
    ],
)
def test_a_folder_holds_a_run(tmp_path, names, expected):
    for name in names:
        (tmp_path / name).write_text("")
    assert holds_run(tmp_path) is expected
