"""An export in a process with another backend, and what it says where it fails."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_griffin.backends import WITH_GRADIENTS
from keras_griffin.export import FORMATS, other_backend
from keras_griffin.layers import RGLRU
from tests.export import comparison

ROOT = Path(__file__).parents[2]


def model():
    return keras.Sequential([keras.Input((None, 4), name="samples"), RGLRU(return_sequences=True)])


@pytest.mark.slow
@pytest.mark.trainable
def test_a_model_of_this_backend_in_every_format_of_another(tmp_path):
    backend = WITH_GRADIENTS[WITH_GRADIENTS.index(keras.backend.backend()) - 1]
    pytest.importorskip(backend)
    given, rows = comparison.encoder(), np.random.default_rng(0).normal(size=(3, 20, 3)).astype("float32")
    given.save(tmp_path / "model.keras")
    np.savez(tmp_path / "rows.npz", inputs=rows, outputs=keras.ops.convert_to_numpy(given(rows)))
    command = [sys.executable, "-m", "tests.export.every_format", tmp_path / "model.keras", tmp_path / "rows.npz"]
    run = subprocess.run(
        command, env={**os.environ, "KERAS_BACKEND": backend}, cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    formats = [name for name, form in FORMATS.items() if form.backend == backend]
    assert run.stdout.split() == formats


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


def test_its_warnings_are_ours(monkeypatch, tmp_path):
    said = "import.py:3: UserWarning: not ours\nwrite.py:9: UserWarning: export: a seed is kept.\n  warnings.warn("
    ended = subprocess.CompletedProcess([], 0, "", said)
    monkeypatch.setattr(other_backend.subprocess, "run", lambda *arguments, **options: ended)
    with pytest.warns(match="^export: a seed is kept.$"):
        other_backend.export_on("jax", model(), tmp_path / "m.stablehlo", {})
