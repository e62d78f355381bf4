"""An export on another backend than the active one, in a process of its own."""

import json
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import keras


def export_on(backend: str, model: keras.Model, path: Path, options: dict) -> None:
    """Export the model there; it travels as a `.keras` file."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.keras"
        model.save(file)
        command = [sys.executable, "-m", "keras_griffin.export", str(file), str(path), json.dumps(options)]
        environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        run = subprocess.run(command, env=environment, capture_output=True, text=True)
    if run.returncode:
        said = run.stderr.strip().splitlines() or [f"exit status {run.returncode}"]
        kind, colon, sentence = said[-1].partition(": ")
        if colon and kind == "ValueError":
            raise ValueError(sentence)
        raise RuntimeError(f"export: the process with {backend} must succeed. Got {said[-1]}")
    for line in run.stderr.splitlines():
        _, _, sentence = line.partition("UserWarning: ")
        if sentence.startswith("export: "):
            warnings.warn(sentence, stacklevel=3)
