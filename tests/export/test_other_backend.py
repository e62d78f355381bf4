"""An export in a process with another backend, and what it says where it fails."""

import subprocess

import keras
import pytest

from keras_griffin.export import other_backend
from keras_griffin.layers import RGLRU
from tests.export import comparison


def model():
    return keras.Sequential([keras.Input((None, 4), name="samples"), RGLRU(return_sequences=True)])


def onnx_file(path):
    """A call of onnxruntime's."""
    session = pytest.importorskip("onnxruntime").InferenceSession(path)
    names = [result.name for result in session.get_outputs()]
    return lambda feeds: dict(zip(names, session.run(None, feeds), strict=True))


def tflite_file(path):
    """A call of LiteRT's."""
    call = pytest.importorskip("ai_edge_litert.interpreter").Interpreter(str(path)).get_signature_runner()
    return lambda feeds: call(**feeds)


OTHERS = [
    (backend, name, run)
    for backend, name, run in [("torch", "m.onnx", onnx_file), ("tensorflow", "m.tflite", tflite_file)]
    if backend != keras.backend.backend()
]


@pytest.mark.slow
@pytest.mark.trainable
@pytest.mark.parametrize("backend, name, run", OTHERS, ids=[backend for backend, *_ in OTHERS])
def test_a_model_of_this_backend_is_written_by_another(backend, name, run, tmp_path):
    pytest.importorskip(backend)
    given = comparison.encoder()
    other_backend.export_on(backend, given, tmp_path / name, {"what": "step"})
    comparison.assert_same_numbers(run(tmp_path / name), given, "step")


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
