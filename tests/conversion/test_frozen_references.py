"""Logits that `transformers` and DeepMind's `recurrentgemma` gave for random weights; parity/freeze.py wrote them."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_griffin.conversion import load_recurrentgemma
from keras_griffin.files.safetensors import write_safetensors
from parity.cases import FROZEN, huggingface_config, weights
from parity.deepmind_names import deepmind_weights

NUMBERS = json.loads((Path(__file__).parent / "frozen_references.json").read_text())
#: The limit of `make parity`.
LIMIT = 2e-5


@pytest.fixture(params=["transformers", "deepmind torch"])
def reference(request):
    return request.param


@pytest.fixture
def load(reference, tmp_path):
    """A function that loads the reference's checkpoint, with overrides."""
    if reference == "transformers":
        write_safetensors(tmp_path / "model.safetensors", weights(FROZEN), {"format": "pt"})
        (tmp_path / "config.json").write_text(json.dumps(huggingface_config(FROZEN)))
        return lambda **overrides: load_recurrentgemma(tmp_path, **overrides)
    path = tmp_path / "deepmind.npz"
    np.savez(path, **deepmind_weights(FROZEN))
    return lambda **overrides: load_recurrentgemma(path, **{"window": FROZEN.window + 1, **overrides})


def difference(model, reference):
    """The largest, of the logits at the places that were kept."""
    logits = keras.ops.convert_to_numpy(model(np.array([NUMBERS["tokens"]])))[0, NUMBERS["places"]]
    return np.abs(logits - np.array(NUMBERS[reference]["logits"])).max()


def test_the_weights_are_those_that_the_numbers_are_of():
    total = sum(float(np.abs(tensor.astype("float64")).sum()) for tensor in weights(FROZEN).values())
    assert total == pytest.approx(NUMBERS["sum_of_weights"], rel=1e-9)


def test_logits_are_those_of_the_reference(reference, load):
    assert difference(load(), reference) <= LIMIT


@pytest.mark.parametrize(
    "override", [{"window": FROZEN.window - 1}, {"window": FROZEN.window + 2}, {"rotary_base": 9e3}]
)
def test_the_numbers_tell_another_model_from_this_one(reference, load, override):
    assert difference(load(**override), reference) > 10 * LIMIT


def test_greedy_tokens_are_those_of_the_reference(reference, load):
    expected = NUMBERS[reference]["greedy"]
    prompt = expected[: len(expected) - NUMBERS["new_tokens"]]
    assert np.asarray(load().generate([prompt], NUMBERS["new_tokens"])[0]).tolist() == expected
