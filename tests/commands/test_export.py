import json

import keras
import numpy as np
import pytest

import keras_griffin.export
from keras_griffin.__main__ import main
from keras_griffin.commands.export import FORMATS, WHATS
from keras_griffin.export import write
from keras_griffin.layers import RGLRU
from keras_griffin.models import Griffin
from keras_griffin.models.saving.preset_files import save_to_preset

pytestmark = pytest.mark.any_backend

#: What an exported file is written with.
WRITES_ONNX = [pytest.mark.trainable, pytest.mark.slow]


def test_the_choices_are_those_of_the_package():
    assert (FORMATS, WHATS) == (tuple(keras_griffin.export.FORMATS), write.WHATS)


@pytest.fixture
def onnxruntime():
    pytest.importorskip("onnxscript", reason="needs the extra export")
    return pytest.importorskip("onnxruntime", reason="needs the extra dev")


@pytest.fixture
def sensor_model(tmp_path):
    """A model that is no language model, and its file."""
    inputs = keras.Input((None, 4), name="sensor")
    model = keras.Model(inputs, keras.layers.Dense(2, name="scores")(RGLRU(return_sequences=True)(inputs)))
    model.save(tmp_path / "sensor.keras")
    return model


@pytest.mark.trainable
@pytest.mark.slow
def test_a_preset_in_half_precision_becomes_a_step_with_its_tokenizer(byte_model, tmp_path, capsys, onnxruntime):
    half = Griffin(byte_model.config, dtype="bfloat16", tokenizer=byte_model.tokenizer)
    save_to_preset(half, tmp_path / "preset")
    source, target = str(tmp_path / "preset"), tmp_path / "new.onnx"
    assert main(["export", source, str(target)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [
        f"Reading {source}",
        f"Writing a step of a Griffin with {half.count_params():,} parameters as .onnx, by torch",
    ]
    facts = json.loads((tmp_path / "new.onnx.json").read_text())
    assert {each["dtype"] for each in facts["state"]} <= {"float32", "int32", "bool"}
    # The state of a row with no step yet, as the library counts it.
    blocks = keras.tree.flatten(byte_model.initial_state(1).blocks)
    bytes_a_row = sum(keras.ops.convert_to_numpy(leaf).nbytes for leaf in blocks)
    assert lines[2:4] == [
        f"Inputs: token_ids (batch) int32, reset (batch) bool, a state of {len(facts['state'])} tensors, "
        f"{bytes_a_row:,} bytes a row",
        "Outputs: logits, the state",
    ]
    size = target.stat().st_size
    assert lines[4].startswith("Done in ") and lines[4].endswith(
        f" s: {target} ({size:,} bytes), {target}.json, {tmp_path / 'byte_tokenizer.json'}"
    )
    onnxruntime.InferenceSession(target)

    assert main(["export", source, str(target)]) == 2
    printed = capsys.readouterr()
    # Nothing is read in vain.
    sentence = "keras_griffin export: PATH must be a new file; --overwrite replaces it. Got "
    assert not printed.out and printed.err == f"{sentence}{str(target)!r}, which exists.\n"
    target.unlink()
    assert main(["export", source, str(target)]) == 2
    assert capsys.readouterr().err == f"{sentence.replace('PATH', 'PATH.json')}{f'{target}.json'!r}, which exists.\n"


@pytest.mark.trainable
@pytest.mark.slow
def test_a_functional_model_replaces_an_earlier_result(sensor_model, tmp_path, capsys, onnxruntime):
    target = tmp_path / "sensor.onnx"
    target.write_text("earlier")
    command = ["export", str(tmp_path / "sensor.keras"), str(target), "--what", "chunk", "--chunk", "3", "--overwrite"]
    assert main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == (
        f"Writing a chunk of 3 steps of a Functional with {sensor_model.count_params()} parameters as .onnx, by torch"
    )
    assert lines[2:4] == [
        "Inputs: sensor (batch, 3, 4) float32, reset (batch) bool, a state of 1 tensors, 16 bytes a row",
        "Outputs: scores, the state",
    ]
    row = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
    feeds = {"sensor": row, "reset": np.ones(2, bool), "past.0.recurrent": np.zeros((2, 4), "float32")}
    (scores,) = onnxruntime.InferenceSession(target).run(["scores"], feeds)
    np.testing.assert_allclose(scores, sensor_model.predict(row, verbose=0), atol=1e-5)


def refusal(argv, capsys):
    assert main(["export", *argv]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error.removeprefix("keras_griffin export: ").removesuffix("\n")


@pytest.fixture
def writes_anything(monkeypatch):
    """Find no package missing, whatever is installed."""
    monkeypatch.setattr(write.importlib.util, "find_spec", lambda name: name)


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--what", "chunk"], "--chunk must be given with --what chunk, and with nothing else. Got none."),
        (["--chunk", "3"], "--chunk must be given with --what chunk, and with nothing else. Got 3 with step."),
    ],
)
def test_a_chunk_goes_with_its_size(argv, sentence, capsys):
    assert refusal(["nowhere", "a.onnx", *argv], capsys) == sentence


def test_a_path_that_cannot_be_written_is_refused_before_anything_is_read(
    tmp_path, monkeypatch, capsys, writes_anything
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    assert refusal(["nowhere", "a.onx"], capsys).endswith("unless a format is given. Got 'a.onx'.")
    assert refusal(["nowhere", "no/a.onnx"], capsys) == "PATH must be a file in a folder that exists. Got 'no/a.onnx'."
    assert refusal(["nowhere", "full"], capsys) == (
        "PATH must be a new folder, or an empty one; --overwrite replaces an earlier result. "
        "Got 'full', which has mine."
    )


def test_a_package_that_is_missing_is_named(monkeypatch, capsys):
    monkeypatch.setattr(write.importlib.util, "find_spec", lambda name: None if name == "onnxscript" else name)
    error = refusal(["nowhere", "a.onnx"], capsys)
    assert error == ('this format needs onnxscript, which pip install "keras-griffin[torch,export]" installs.')


def test_a_model_that_is_nowhere_or_cannot_be_a_step(sensor_model, tmp_path, capsys, monkeypatch, writes_anything):
    monkeypatch.chdir(tmp_path)
    assert refusal(["no.keras", "a.onnx"], capsys) == "MODEL must be a file that exists. Got 'no.keras'."
    assert refusal(["nowhere", "a.onnx"], capsys).startswith("MODEL must be a .keras file, a folder, hf://")
    sensor_model.layers[-1].quantize("int8")
    sensor_model.save("few.keras")
    assert refusal(["few.keras", "a.onnx"], capsys) == "a model must not be quantised. Got one that is."
    assert not list(tmp_path.glob("a.onnx*"))
