"""SavedModels as TensorFlow loads them, and `.tflite` files in LiteRT's interpreter."""

import json

import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("TensorFlow writes them", allow_module_level=True)

import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from keras_griffin.export import export
from keras_griffin.models import SequenceEncoder
from tests.export.comparison import assert_same_numbers, encoder, language_model, unit
from tests.export.registry import WHATS as SIZES
from tests.export.registry import assert_layers, every_program, model_of

WHATS = [("step", None), ("chunk", 7), ("sequence", None)]


def saved_model(path):
    """A call of the signature for TensorFlow Serving."""
    call = tf.saved_model.load(path).signatures["serving_default"]

    def run(feeds):
        found = call(**{name: tf.constant(x) for name, x in feeds.items()})
        return {name: x.numpy() for name, x in found.items()}

    return run


def tflite(path):
    """A call of the only signature."""
    call = Interpreter(str(path)).get_signature_runner()
    return lambda feeds: call(**feeds)


@pytest.mark.parametrize("what, chunk", WHATS)
@pytest.mark.parametrize("file, read", [("served", saved_model), ("m.tflite", tflite)], ids=["saved_model", "tflite"])
def test_a_file_does_what_the_model_does(tmp_path, file, read, what, chunk):
    model = language_model()
    export(model, tmp_path / file, what=what, chunk=chunk)
    assert_same_numbers(read(tmp_path / file), model, what, chunk)


def test_a_saved_model_needs_no_xla(tmp_path):
    """TensorFlow Serving compiles nothing for a CPU unless it is told to."""
    inputs = keras.Input((None, 3))
    model = keras.Model(inputs, SequenceEncoder(8, 2, block_pattern=("recurrent", "mamba", "min_lstm"))(inputs))
    export(model, tmp_path / "served", what="sequence")
    served = tf.saved_model.load(tmp_path / "served").signatures["serving_default"]
    assert not compiled(served)
    assert_same_numbers(saved_model(tmp_path / "served"), model, "sequence")
    assert compiled(tf.function(model).get_concrete_function(tf.TensorSpec((None, None, 3))))


def compiled(function):
    """The functions within one that XLA must compile."""
    library = function.graph.as_graph_def().library.function
    return [each.signature.name for each in library if each.attr["_XlaMustCompile"].b]


def test_the_names_of_a_saved_model_are_those_of_its_json(tmp_path):
    export(unit(), tmp_path / "served")
    facts = json.loads((tmp_path / "served.json").read_text("utf-8"))
    loader = tf.compat.v1.saved_model
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        signature = loader.load(session, ["serve"], str(tmp_path / "served")).signature_def["serving_default"]
    inputs = [port["name"] for port in facts["inputs"]] + [state["past"] for state in facts["state"]]
    assert set(signature.inputs) == {*inputs} == {"inputs", "reset", "past.0.recurrent"}
    outputs = facts["outputs"] + [state["present"] for state in facts["state"]]
    assert set(signature.outputs) == {*outputs} and "present.0.recurrent" in outputs


def test_serve_takes_the_inputs_in_order(tmp_path):
    model = encoder()
    export(model, tmp_path / "served", what="sequence")
    rows = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("float32")
    loaded = tf.saved_model.load(tmp_path / "served")
    np.testing.assert_allclose(loaded.serve(rows)["forecast"], model(rows), atol=1e-5, rtol=0)


#: LiteRT's built-in operations have no products of six axes, in which a chunk of a matrix state is computed, and no
#: lists of tensors.
MATRIX_STATES = "gated_delta_net", "gated_linear_attention", "linear_attention", "mamba2", "mlstm", "retention"
REFUSED = {"step": (), "chunk": (*MATRIX_STATES, "s4"), "sequence": (*MATRIX_STATES, "s4", "s4d")}


@pytest.mark.slow
@pytest.mark.parametrize("part, what", every_program("saved_model"))
def test_every_mixer_and_unit_in_a_saved_model(tmp_path, part, what):
    def written(model, **options):
        export(model, tmp_path / "served", **options)
        return saved_model(tmp_path / "served")

    assert_layers(written, part, what)


@pytest.mark.slow
@pytest.mark.parametrize("part, what", every_program("tflite"))
def test_every_mixer_and_unit_in_litert(tmp_path, part, what):
    def written(model, **options):
        export(model, tmp_path / "m.tflite", **options)
        return tflite(tmp_path / "m.tflite")

    assert_layers(written, part, what, REFUSED[what])


@pytest.mark.slow
@pytest.mark.parametrize(
    "what, name",
    [
        # It refuses sequences of the same.
        pytest.param(what, name, marks=[pytest.mark.exhaustive] * (what == "chunk" and name != MATRIX_STATES[0]))
        for what in REFUSED
        for name in REFUSED[what]
    ],
)
def test_litert_refuses(tmp_path, what, name):
    model = model_of((name,))
    with pytest.raises(ValueError, match="^export: the model must be made of what .tflite can hold"):
        export(model, tmp_path / "m.tflite", what=what, chunk=SIZES[what])
    assert not list(tmp_path.iterdir())
