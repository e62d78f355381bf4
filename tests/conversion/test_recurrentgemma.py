"""RecurrentGemma against logits that `transformers` and DeepMind's code gave (parity/freeze.py), and its formats."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_griffin.conversion import load_recurrentgemma
from keras_griffin.conversion.checkpoint_preset import CHECKPOINT, load_as_preset
from keras_griffin.files.safetensors import write_safetensors
from keras_griffin.models import Griffin
from keras_griffin.models.saving.preset_files import FORMATS
from parity.cases import FROZEN
from tests.conversion.checkpoints import (
    OTHER,
    bits,
    config_of,
    deepmind_torch_weights,
    deepmind_weights,
    forbid_building,
    weights_of,
    write_folder,
)

NUMBERS = json.loads((Path(__file__).parent / "frozen_references.json").read_text())


@pytest.mark.parametrize("reference", ["transformers", "deepmind torch"])
def test_logits_and_greedy_tokens_are_those_of_the_reference(reference, tmp_path):
    total = sum(float(np.abs(tensor.astype("float64")).sum()) for tensor in weights_of(FROZEN).values())
    assert total == pytest.approx(NUMBERS["sum_of_weights"], rel=1e-9)
    if reference == "transformers":
        model = load_recurrentgemma(write_folder(tmp_path / "folder", FROZEN))
    else:
        np.savez(tmp_path / "deepmind.npz", **deepmind_weights(FROZEN))
        # DeepMind's window excludes the query's own key.
        model = load_recurrentgemma(tmp_path / "deepmind.npz", window=FROZEN.window + 1)
    assert type(model) is Griffin
    logits = keras.ops.convert_to_numpy(model(np.array([NUMBERS["tokens"]])))[0, NUMBERS["places"]]
    # The limit of `make parity`.
    assert np.abs(logits - np.array(NUMBERS[reference]["logits"])).max() <= 2e-5
    expected = NUMBERS[reference]["greedy"]
    prompt = expected[: len(expected) - NUMBERS["new_tokens"]]
    assert np.asarray(model.generate([prompt], NUMBERS["new_tokens"])[0]).tolist() == expected


def save_deepmind(path, arrays):
    """Save arrays in a format of DeepMind's; the names within PyTorch's and Orbax's begin with `params`."""
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    elif path.suffix == ".safetensors":
        write_safetensors(path, {f"params.{name}": array for name, array in arrays.items()})
    elif path.suffix == ".pt":
        torch = pytest.importorskip("torch", reason="needs the extra torch")
        tensors = {name: torch.tensor(np.ascontiguousarray(array)) for name, array in arrays.items()}
        torch.save({"params": tensors}, path)
    else:
        orbax = pytest.importorskip("orbax.checkpoint", reason="needs the extra orbax")
        tree = {}
        for name, array in arrays.items():
            # Flax has keys with a dot: blocks.0.
            *keys, last = name.replace("blocks.", "blocks/").split(".")
            branch = tree
            for key in keys:
                branch = branch.setdefault(key.replace("/", "."), {})
            branch[last] = array
        orbax.PyTreeCheckpointer().save(path, {"params": tree})


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("a.safetensors", deepmind_torch_weights),
        ("a.npz", deepmind_torch_weights),
        ("a.pt", deepmind_torch_weights),
        ("orbax", deepmind_weights),
    ],
)
def test_a_checkpoint_of_deepmind_is_the_folder_of_hugging_face(tmp_path, name, weights):
    save_deepmind(tmp_path / name, weights(FROZEN))
    expected = load_recurrentgemma(write_folder(tmp_path / "folder", FROZEN))
    model = load_recurrentgemma(tmp_path / name, window=FROZEN.window)
    assert model.config == expected.config and bits(model) == bits(expected)


@pytest.mark.any_backend
def test_a_folder_its_file_its_shards_and_a_preset_are_the_same(tmp_path):
    folder = write_folder(tmp_path / "folder", OTHER)
    expected = load_recurrentgemma(folder)
    for path in (folder / "model.safetensors", write_folder(tmp_path / "shards", OTHER, num_shards=3)):
        model = load_recurrentgemma(path)
        assert model.config == expected.config and bits(model) == bits(expected)
    assert CHECKPOINT in FORMATS and CHECKPOINT.load is load_as_preset
    for path in (folder, str(folder), folder / "model.safetensors"):
        model = Griffin.from_preset(path, dtype="bfloat16", name="gemma", window=3)
        assert model.config == expected.config.replace(window=3)
        assert (model.name, model.dtype_policy.name) == ("gemma", "bfloat16")


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"hidden_size": 2**20, "head_dim": 8},
            r"model\.embed_tokens\.weight of shape \(48, 32\), .* \(48, 1048576\);",
        ),
        ({"vocab_size": 2**26}, r"model\.embed_tokens\.weight of shape \(48, 32\), which should be \(67108864, 32\)"),
        ({"num_hidden_layers": 5}, r"no model\.layers\.4\."),
        ({"num_hidden_layers": 100_000}, r"num_layers 100000 and 70 tensors\.$"),
    ],
)
def test_a_config_that_does_not_match_the_tensors_is_refused_first(tmp_path, monkeypatch, change, sentence):
    forbid_building(monkeypatch)
    folder = write_folder(tmp_path / "folder", OTHER, {**config_of(OTHER), **change})
    with pytest.raises(ValueError, match=rf"^load_recurrentgemma: .* Got {sentence}"):
        load_recurrentgemma(folder)


@pytest.mark.any_backend
def test_what_is_no_recurrentgemma_is_refused(tmp_path):
    write_safetensors(tmp_path / "a.safetensors", {"a": np.zeros(2), "b": np.zeros(2)})
    with pytest.raises(ValueError, match=r"must have the tensor .* or .*\. Got '.*' with 2 tensors: a, b\.$"):
        load_recurrentgemma(tmp_path / "a.safetensors")
    with pytest.raises(
        FileNotFoundError, match=r"the path must be a checkpoint\. Got '.*nowhere', which does not exist\."
    ):
        load_recurrentgemma(tmp_path / "nowhere")
    folder = write_folder(tmp_path / "folder", FROZEN)
    for text, sentence in {
        "{": r"config\.json must be JSON\. Got '.*': ",
        "[]": r"config\.json must be a JSON object\. Got '.*' with a list\.",
        json.dumps({"model_type": "gemma"}): r"model_type must be 'recurrent_gemma'\. Got 'gemma'\.",
    }.items():
        (folder / "config.json").write_text(text)
        with pytest.raises(ValueError, match=rf"^load_recurrentgemma: .*{sentence}"):
            load_recurrentgemma(folder)
