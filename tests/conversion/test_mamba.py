import json

import keras
import numpy as np
import pytest

from keras_griffin.conversion import load_mamba
from keras_griffin.files.safetensors import write_safetensors
from keras_griffin.models import Griffin, Hawk, LanguageModel
from parity.cases import FROZEN
from tests.conversion.checkpoints import (
    MAMBA,
    MAMBA_AUTHORS_CONFIG,
    MAMBA_OTHER,
    TOKEN_IDS,
    bits,
    config_of,
    forbid_building,
    mamba_authors_weights,
    weights_of,
    write_folder,
)


def expected_logits(case):
    """Mamba's logits `(T, V)` of one row, in float64, step by step."""
    weights = {name: array.astype("float64") for name, array in weights_of(case).items()}
    inner, states = case.config["expand"] * case.config["hidden_size"], case.config["state_size"]
    rank, num_taps = case.config["time_step_rank"], case.config["conv_kernel"]

    def norm(x, scale):
        return x / np.sqrt(np.mean(x**2, -1, keepdims=True) + case.config["layer_norm_epsilon"]) * scale

    def silu(x):
        return x / (1.0 + np.exp(-x))

    embedding = weights["backbone.embeddings.weight"]
    x = embedding[TOKEN_IDS[0]]
    for n in range(case.config["num_hidden_layers"]):
        prefix = f"backbone.layers.{n}."
        w = {name.removeprefix(prefix): array for name, array in weights.items() if name.startswith(prefix)}
        projected = norm(x, w["norm.weight"]) @ w["mixer.in_proj.weight"].T
        padded = np.concatenate([np.zeros((num_taps - 1, inner)), projected[:, :inner]])
        taps, bias = w["mixer.conv1d.weight"][:, 0].T, w["mixer.conv1d.bias"]
        u = silu(np.array([np.sum(padded[t : t + num_taps] * taps, 0) + bias for t in range(len(x))]))
        step, b, c = np.split(u @ w["mixer.x_proj.weight"].T, [rank, rank + states], -1)
        step = np.log1p(np.exp(step @ w["mixer.dt_proj.weight"].T + w["mixer.dt_proj.bias"]))
        hidden, outputs = np.zeros((inner, states)), []
        for t in range(len(x)):
            decay = np.exp(-step[t][:, None] * np.exp(w["mixer.A_log"]))
            hidden = decay * hidden + (step[t] * u[t])[:, None] * b[t]
            outputs.append(hidden @ c[t] + w["mixer.D"] * u[t])
        x = x + (np.array(outputs) * silu(projected[:, inner:])) @ w["mixer.out_proj.weight"].T
    return norm(x, weights["backbone.norm_f.weight"]) @ embedding.T


def assert_loads(path, expected, **overrides):
    model = load_mamba(path, **overrides)
    assert type(model) is LanguageModel
    logits = keras.ops.convert_to_numpy(model(TOKEN_IDS))[0]
    # Rounding in float32 through three layers, of logits up to 20.
    np.testing.assert_allclose(logits, expected, atol=1e-4)


@pytest.mark.any_backend
def test_a_folder_of_hugging_face(tmp_path):
    # Rows beyond the vocabulary are kept.
    folder = write_folder(tmp_path / "folder", MAMBA_OTHER, {**config_of(MAMBA_OTHER), "vocab_size": 45})
    assert_loads(folder, expected_logits(MAMBA_OTHER))


@pytest.mark.any_backend
def test_a_folder_of_the_authors(tmp_path):
    weights, expected = mamba_authors_weights(), expected_logits(MAMBA)
    (tmp_path / "config.json").write_text(json.dumps(MAMBA_AUTHORS_CONFIG))
    write_safetensors(tmp_path / "model.safetensors", weights)
    assert_loads(tmp_path, expected)
    # The table's rows of no token are kept, and cut on demand.
    assert load_mamba(tmp_path).config.vocabulary_size == 48
    assert_loads(tmp_path, expected[:, :45], vocabulary_size=45)
    torch = pytest.importorskip("torch", reason="needs the extra torch")
    torch.save({name: torch.tensor(array) for name, array in weights.items()}, tmp_path / "pytorch_model.bin")
    expected = bits(load_mamba(tmp_path))
    (tmp_path / "model.safetensors").unlink()
    for path in (tmp_path, tmp_path / "pytorch_model.bin"):
        assert bits(load_mamba(path)) == expected


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"hidden_size": 32}, r"embeddings\.weight of shape \(48, 20\), which should be"),
        ({"num_hidden_layers": 100_000}, r"num_layers 100000 and 32 tensors\.$"),
        ({"time_step_rank": 5}, r"mixer\.x_proj\.weight of shape \(14, 60\), which should be \(15, 60\)"),
    ],
)
def test_a_config_that_does_not_match_the_tensors_is_refused_first(tmp_path, monkeypatch, change, sentence):
    forbid_building(monkeypatch)
    folder = write_folder(tmp_path / "folder", MAMBA_OTHER, {**config_of(MAMBA_OTHER), **change})
    with pytest.raises(ValueError, match=rf"^load_mamba: .* Got .*{sentence}"):
        load_mamba(folder)


@pytest.mark.any_backend
def test_what_is_no_mamba_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"^load_mamba: the checkpoint must have the tensor backbone\.embeddings\.weight or backbone\."
    ):
        load_mamba(write_folder(tmp_path / "folder", FROZEN))
    folder = write_folder(tmp_path / "mamba", MAMBA)
    (folder / "config.json").unlink()
    with pytest.raises(ValueError, match=r"^load_mamba: the folder must have a config\.json\. Got '.*' without one\."):
        load_mamba(folder)


@pytest.mark.any_backend
@pytest.mark.parametrize("cls", [LanguageModel, Griffin])
def test_from_preset(tmp_path, cls):
    folder = write_folder(tmp_path / "mamba", MAMBA)
    model, expected = cls.from_preset(folder, name="mamba", dtype="mixed_bfloat16"), load_mamba(folder)
    assert type(model) is Griffin
    assert (model.name, model.config, model.dtype_policy.name) == ("mamba", expected.config, "mixed_bfloat16")
    assert bits(model) == bits(expected)
    with pytest.raises(
        ValueError, match=r"^from_preset: a checkpoint of Mamba is a Griffin\. Got Hawk\.from_preset\.$"
    ):
        Hawk.from_preset(folder)
