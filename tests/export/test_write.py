"""`export`: what it refuses before it writes, and what lies on the disk afterwards."""

import contextlib
import json
import sys

import keras
import numpy as np
import pytest

from keras_griffin.export import export, write
from keras_griffin.layers import RGLRU
from keras_griffin.models import Griffin, GriffinConfig
from keras_griffin.tokenizers import ByteTokenizer

BACKEND = keras.backend.backend()


def around(*layers):
    """A model of layers, one after the other."""
    return keras.Sequential([keras.Input((None, 4), name="samples"), *layers])


def here(function):
    """All formats as if the active backend wrote them, by a function."""
    module = type("module", (), {"function": staticmethod(function), "FAILURES": ()})
    return {
        "onnx": write.FORMATS["onnx"]._replace(backend=BACKEND, packages=(), module="here", function="function")
    }, module


@pytest.fixture
def written(monkeypatch):
    """`.onnx` files are written here: the facts, as text."""
    formats, module = here(lambda program, path, facts: path.write_text(json.dumps(facts)))
    monkeypatch.setattr(write, "FORMATS", formats)
    monkeypatch.setitem(sys.modules, "keras_griffin.export.here", module)


WRONG = {
    "what must be one of step, chunk, sequence. Got 'steps'": {"what": "steps"},
    "chunk must be given for what='chunk', and for nothing else. Got None": {"what": "chunk"},
    "chunk must be given for what='chunk', and for nothing else. Got 4": {"chunk": 4},
    "chunk must be an integer of at least 1. Got 0": {"what": "chunk", "chunk": 0},
    "format must be one of .*. Got 'onyx'": {"format": "onyx"},
    "path must end with .*, unless a format is given. Got ": {"path": "m.bin"},
}


@pytest.mark.parametrize("message", WRONG)
def test_arguments_are_refused_before_anything_is_written(message, tmp_path):
    options = dict(WRONG[message])
    path = tmp_path / options.pop("path", "m.onnx")
    with pytest.raises(ValueError, match=f"^export: {message}"):
        export(around(RGLRU()), path, **options)
    assert not [*tmp_path.iterdir()]


MODELS = {
    "a model must compute in float32; .*. Got bfloat16": lambda: around(RGLRU(dtype="bfloat16")),
    "model must be a built functional or Sequential": lambda: keras.layers.Dense(2),
    "a step must give what the whole row gives, .*. Got other numbers in ": lambda: around(
        keras.layers.Conv1D(4, 3, padding="causal")
    ),
}


@pytest.mark.parametrize("message", MODELS)
def test_models_are_refused_before_anything_is_written(message, written, tmp_path):
    with pytest.raises(ValueError, match=message):
        export(MODELS[message](), tmp_path / "m.onnx")
    assert not [*tmp_path.iterdir()]


class Counting(keras.layers.Layer):
    """Counts its calls."""

    def build(self, shape):
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x):
        self.calls.assign(self.calls + 1)
        return x

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape, x.dtype)


class AlwaysDropout(keras.layers.Dropout):
    """As for Monte Carlo dropout; its generator's state moves with each call."""

    def call(self, x):
        return super().call(x, training=True)


@pytest.mark.trainable
@pytest.mark.parametrize(("layer", "what"), [(Counting, "step"), (lambda: AlwaysDropout(0.5), "sequence")])
def test_a_layer_that_assigns_when_it_is_called_is_left_as_it_was(layer, what, tmp_path):
    model = around(layer(), RGLRU(return_sequences=True))
    before = [keras.ops.convert_to_numpy(each) for each in model.variables]
    form = {"jax": "stablehlo", "torch": "pt2", "tensorflow": "saved_model"}[BACKEND]
    told = pytest.warns(match=r"no variable from call to call, .* Got a model that assigns [\w/]+\.$")
    with told if BACKEND == "jax" else contextlib.nullcontext():
        export(model, tmp_path / f"m{write.FORMATS[form].suffix}", what=what)
    for each, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(each), value)


@pytest.mark.skipif(BACKEND == "numpy", reason="Keras's LSTM needs a backend that can compile")
def test_kerass_own_recurrent_layers_are_no_streams(written, tmp_path):
    with pytest.raises(ValueError, match="no layer but the temporal ones of keras_griffin may read other steps"):
        export(around(keras.layers.LSTM(4, return_sequences=True)), tmp_path / "m.onnx")


def test_weights_that_no_file_holds_are_refused(written, monkeypatch, tmp_path):
    formats = {"onnx": write.FORMATS["onnx"]._replace(most_bytes=100)}
    monkeypatch.setattr(write, "FORMATS", formats)
    with pytest.raises(ValueError, match=r"^export: a .onnx file holds at most 100 bytes of weights. Got \d+; .pt2"):
        export(around(RGLRU()), tmp_path / "m.onnx")
    assert not [*tmp_path.iterdir()]


def test_a_package_that_is_missing_is_named(monkeypatch, tmp_path):
    formats = {"onnx": write.FORMATS["onnx"]._replace(packages=("no_such_package",))}
    monkeypatch.setattr(write, "FORMATS", formats)
    with pytest.raises(ImportError, match="export: this format needs .*no_such_package, which pip install"):
        export(around(RGLRU()), tmp_path / "m.onnx")


def test_an_exporter_that_fails_leaves_what_was_there(monkeypatch, tmp_path):
    def fails(program, path, facts):
        path.write_text("half")
        raise KeyError("no such operation")

    formats, module = here(fails)
    monkeypatch.setattr(write, "FORMATS", formats)
    monkeypatch.setitem(sys.modules, "keras_griffin.export.here", module)
    (tmp_path / "m.onnx").write_text("old")
    with pytest.raises(ValueError, match="the model must be made of what .onnx can hold. Got KeyError: 'no such"):
        export(around(RGLRU(return_sequences=True)), tmp_path / "m.onnx")
    assert [x.name for x in tmp_path.iterdir()] == ["m.onnx"] and (tmp_path / "m.onnx").read_text() == "old"


def test_what_lies_beside_the_file(written, tmp_path):
    model = Griffin(GriffinConfig(32, 16, 3, num_heads=2, window=8))
    export(model, tmp_path / "m.onnx", what="chunk", chunk=4)
    facts = json.loads((tmp_path / "m.onnx.json").read_text())
    assert facts == json.loads((tmp_path / "m.onnx").read_text())
    assert (facts["what"], facts["chunk"], facts["outputs"]) == ("chunk", 4, ["logits"])
    assert [(x["name"], x["shape"], x["dtype"]) for x in facts["inputs"]] == [
        ("token_ids", ["batch", 4], "int32"),
        ("reset", ["batch"], "bool"),
    ]
    names = {x["past"]: x["present"] for x in facts["state"]}
    assert names["past.0.recurrent"] == "present.0.recurrent" and names["past.2.key"] == "present.2.key"
    assert all(x["initial"] in (0, False) for x in facts["state"])


def test_another_tokenizer_is_not_replaced(written, tmp_path):
    model = Griffin(GriffinConfig(256, 16, 1, num_heads=2))
    model.tokenizer = ByteTokenizer()
    export(model, tmp_path / "m.onnx")
    (name,) = {x.name for x in tmp_path.iterdir()} - {"m.onnx", "m.onnx.json"}
    export(model, tmp_path / "m.onnx")
    (tmp_path / name).write_text("{}")
    with pytest.raises(ValueError, match="export: the folder must have no other tokenizer"):
        export(model, tmp_path / "n.onnx")
    assert (tmp_path / name).read_text() == "{}" and not (tmp_path / "n.onnx").exists()


@pytest.mark.parametrize("name, message", [("no/m.onnx", "in a folder that exists"), ("m.onnx", "a folder.$")])
def test_a_place_that_takes_no_file_is_refused_before_the_work(written, tmp_path, name, message):
    (tmp_path / "m.onnx").mkdir()
    with pytest.raises(ValueError, match=f"^export: path must be .*{message}"):
        export(around(RGLRU(return_sequences=True)), tmp_path / name)
    assert [x.name for x in tmp_path.rglob("*")] == ["m.onnx"]


def test_rows_of_one_length_are_no_stream(written, tmp_path):
    inputs = keras.Input((10, 3))
    model = keras.Model(inputs, RGLRU(return_sequences=True)(inputs))
    with pytest.raises(ValueError, match=r"an axis of time of any length.* Got \(None, 10, 3\).$"):
        export(model, tmp_path / "m.onnx")
    export(model, tmp_path / "m.onnx", what="sequence")


def test_a_fixed_number_of_rows_is_refused(written, tmp_path):
    model = keras.Sequential([keras.Input((None, 3), batch_size=2), RGLRU(stateful=True, return_sequences=True)])
    with pytest.raises(ValueError, match="^export: a model's number of rows must be free, .* Got 2.$"):
        export(model, tmp_path / "m.onnx")
