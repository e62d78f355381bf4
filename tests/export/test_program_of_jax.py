"""StableHLO files, as `jax.export` runs them."""

import json

import keras
import numpy as np
import pytest

if keras.backend.backend() != "jax":
    pytest.skip("JAX writes StableHLO", allow_module_level=True)

import jax

from keras_griffin.export import export
from keras_griffin.export.jax_program import PLATFORMS
from tests.export.comparison import assert_same_numbers, language_model
from tests.export.registry import assert_layers, every_program, model_of


def runner(path):
    """A call of the file by the names that `PATH.json` says."""
    facts = json.loads(path.with_name(f"{path.name}.json").read_text("utf-8"))
    names = [port["name"] for port in facts["inputs"]] + [state["past"] for state in facts["state"]]
    program = jax.export.deserialize(bytearray(path.read_bytes()))
    assert program.platforms == PLATFORMS
    call = jax.jit(program.call)
    return lambda feeds: jax.tree.map(np.asarray, call(*(feeds[name] for name in names)))


@pytest.mark.parametrize("what, chunk", [("step", None), ("chunk", 7), ("sequence", None)])
def test_the_file_does_what_the_model_does(tmp_path, what, chunk):
    model = language_model()
    export(model, tmp_path / "a.stablehlo", what=what, chunk=chunk)
    assert_same_numbers(runner(tmp_path / "a.stablehlo"), model, what, chunk)


@pytest.mark.slow
@pytest.mark.parametrize("part, what", every_program("stablehlo"))
def test_every_mixer_and_unit(tmp_path, part, what):
    def written(model, **options):
        export(model, tmp_path / "a.stablehlo", **options)
        return runner(tmp_path / "a.stablehlo")

    assert_layers(written, part, what, ("sparse_mqa",) if what == "chunk" else ())


def test_a_chunk_of_sparse_attention_is_refused(tmp_path):
    """JAX can't compare its sizes, which are products of two free ones."""
    with pytest.raises(ValueError, match="^export: the model must be made of what .stablehlo can hold"):
        export(model_of(("sparse_mqa",)), tmp_path / "a.stablehlo", what="chunk", chunk=5)
    assert not list(tmp_path.iterdir())


def test_a_layer_that_reads_a_number_is_named_with_jaxs_reason(tmp_path):
    """Keras, which wraps errors of layers, fails to wrap this one."""

    class Branching(keras.layers.Layer):
        def call(self, x):
            return x if float(x[0, 0, 0]) < 1 else -x

        def compute_output_spec(self, x):
            return keras.KerasTensor(x.shape, x.dtype)

    inputs = keras.Input((None, 4))
    with pytest.raises(ValueError, match=r"stablehlo can hold\. Got ConcretizationTypeError: Abstract tracer"):
        export(keras.Model(inputs, Branching()(inputs)), tmp_path / "a.stablehlo", what="sequence")
    assert keras.config.is_traceback_filtering_enabled()
