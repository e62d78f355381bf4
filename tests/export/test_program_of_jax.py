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
from keras_griffin.models import Griffin, GriffinConfig
from tests.export import comparison
from tests.export.comparison import MODELS, assert_same_numbers


def runner(path):
    """A call of the file by the names that `PATH.json` says."""
    facts = json.loads(path.with_name(f"{path.name}.json").read_text("utf-8"))
    names = [port["name"] for port in facts["inputs"]] + [state["past"] for state in facts["state"]]
    program = jax.export.deserialize(bytearray(path.read_bytes()))
    assert program.platforms == PLATFORMS
    return lambda feeds: jax.tree.map(np.asarray, program.call(*(feeds[name] for name in names)))


@pytest.mark.parametrize("what, chunk", [("step", None), ("chunk", 7), ("sequence", None)])
@pytest.mark.parametrize("name", MODELS)
def test_the_file_does_what_the_model_does(tmp_path, name, what, chunk):
    model = MODELS[name]()
    export(model, tmp_path / "a.stablehlo", what=what, chunk=chunk)
    assert_same_numbers(runner(tmp_path / "a.stablehlo"), model, what, chunk)


def test_a_state_grows(tmp_path, monkeypatch):
    # Each length is compiled anew.
    monkeypatch.setattr(comparison, "STEPS", 5)
    model = Griffin(GriffinConfig(32, 16, 1, num_heads=2, block_pattern=("global_mqa",)))
    export(model, tmp_path / "a.stablehlo")
    assert_same_numbers(runner(tmp_path / "a.stablehlo"), model, "step")


@pytest.mark.slow
@pytest.mark.parametrize("part", comparison.PARTS)
def test_every_mixer_and_unit(tmp_path, monkeypatch, part):
    monkeypatch.setattr(comparison, "STEPS", 5)
    model = comparison.mixers_or_units(part)
    export(model, tmp_path / "a.stablehlo")
    assert_same_numbers(runner(tmp_path / "a.stablehlo"), model, "step")
