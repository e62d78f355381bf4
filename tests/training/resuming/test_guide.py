"""The examples of docs/guides/resuming.md run, and do what the page says."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

from scripts.page_examples import check_output, examples_of, run_python
from tests.training.resuming.guide import PAGE, examples, replaced

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.any_backend
@pytest.mark.trainable
def test_the_same_program_goes_on_where_it_was_and_ends_where_it_had(tmp_path, monkeypatch):
    # A tenth of its steps.
    example = replaced(examples()[0], {"num_batches=50": "num_batches=5", "save_every=20": "save_every=2"})
    shown = examples_of(PAGE)[0][2]
    monkeypatch.chdir(tmp_path)
    histories = []
    for step in (0, 20):
        names = {}
        check_output(replaced(shown, {"step 0;": f"step {step};"}), run_python(example, PAGE.name, names))
        histories.append(names["history"].history)
    assert len(histories[0]["loss"]) == 4 and histories[1] == histories[0]
    assert names["run"].step == 20


def start(folder, steps=-1):
    settings = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.training.resuming.guide", str(folder), str(steps)]
    return subprocess.Popen(command, cwd=ROOT, env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def answer_of(process):
    printed, errors = process.communicate()
    assert process.returncode == 0, errors[-3000:]
    return json.loads(printed.split("ANSWERS")[1])


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="Keras's Orbax callback is for JAX")
@pytest.mark.skipif(not importlib.util.find_spec("orbax"), reason="needs the extra orbax")
def test_with_orbax_the_weights_are_those_of_a_run_without_a_pause_to_the_last_bit(tmp_path):
    """Each in a process of its own, as the page asks for: Keras numbers the names of a process's layers."""
    with start(tmp_path / "undisturbed") as undisturbed, start(tmp_path / "cut", steps=8) as cut:
        expected, began = answer_of(undisturbed), answer_of(cut)
    assert expected["step"] == began["step"] == 0
    with start(tmp_path / "cut") as resumed:
        ended = answer_of(resumed)
    # In the middle of the second epoch of five batches.
    assert ended["step"] in (6, 8)
    assert ended["variables"] == expected["variables"]
