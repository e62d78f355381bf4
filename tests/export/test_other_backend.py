"""An export in a process with another backend, and what it says where it fails."""

import json
import subprocess

import keras
import pytest

from keras_griffin.export import other_backend
from keras_griffin.layers import RGLRU


def model():
    return keras.Sequential([keras.Input((None, 4), name="samples"), RGLRU(return_sequences=True)])


@pytest.mark.any_backend
@pytest.mark.slow
def test_the_process_writes_the_file(tmp_path):
    pytest.importorskip("torch")
    other_backend.export_on("torch", model(), tmp_path / "m.pt2", {"what": "sequence"})
    assert json.loads((tmp_path / "m.pt2.json").read_text())["what"] == "sequence"


SAID = {
    "Traceback\nValueError: export: the chunk is wrong.": (ValueError, "^export: the chunk is wrong.$"),
    "Traceback\nKeyError: 3": (RuntimeError, "^export: the process with torch must succeed. Got KeyError: 3$"),
    "": (RuntimeError, "Got exit status 1$"),
}


@pytest.mark.parametrize("said", SAID)
def test_its_errors_are_ours(said, monkeypatch, tmp_path):
    failed = subprocess.CompletedProcess([], 1, "", said)
    monkeypatch.setattr(other_backend.subprocess, "run", lambda *arguments, **options: failed)
    kind, message = SAID[said]
    with pytest.raises(kind, match=message):
        other_backend.export_on("torch", model(), tmp_path / "m.pt2", {})
