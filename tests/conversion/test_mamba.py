import json

import keras
import numpy as np
import pytest

from keras_griffin.conversion import load_mamba, load_mamba2
from keras_griffin.files.safetensors import write_safetensors
from keras_griffin.models import Griffin, Hawk, LanguageModel
from parity.cases import FROZEN
from tests.conversion.checkpoints import (
    MAMBA,
    MAMBA2,
    MAMBA2_OTHER,
    MAMBA_OTHER,
    TOKEN_IDS,
    authors_config,
    bits,
    config_of,
    forbid_building,
    mamba_authors_weights,
    weights_of,
    write_folder,
)

LOADERS = {"mamba": load_mamba, "mamba2": load_mamba2}
BOTH = pytest.mark.parametrize(("case", "other"), [(MAMBA, MAMBA_OTHER), (MAMBA2, MAMBA2_OTHER)], ids=LOADERS)


def expected_logits(case):
    """The logits `(T, V)` of one row, in float64, step by step."""
    weights = {name: array.astype("float64") for name, array in weights_of(case).items()}
    embedding = weights["backbone.embeddings.weight"]
    x = embedding[TOKEN_IDS[0]]
    for n in range(case.config["num_hidden_layers"]):
        prefix = f"backbone.layers.{n}."
        w = {name.removeprefix(prefix): array for name, array in weights.items() if name.startswith(prefix)}
        mix = mamba if case.family == "mamba" else mamba2
        of_mixer = {name.removeprefix("mixer."): array for name, array in w.items()}
        x = x + mix(of_mixer, norm(x, case, w["norm.weight"]), case)
    return norm(x, case, weights["backbone.norm_f.weight"]) @ embedding.T


def norm(x, case, scale):
    return x / np.sqrt(np.mean(x**2, -1, keepdims=True) + case.config["layer_norm_epsilon"]) * scale


def silu(x):
    return x / (1.0 + np.exp(-x))


def convolved(w, x, case):
    num_taps = case.config["conv_kernel"]
    padded = np.concatenate([np.zeros((num_taps - 1, x.shape[1])), x])
    taps, bias = w["conv1d.weight"][:, 0].T, w["conv1d.bias"]
    return silu(np.array([np.sum(padded[t : t + num_taps] * taps, 0) + bias for t in range(len(x))]))


def mamba(w, x, case):
    inner, states = case.config["expand"] * case.config["hidden_size"], case.config["state_size"]
    rank = case.config["time_step_rank"]
    projected = x @ w["in_proj.weight"].T
    u = convolved(w, projected[:, :inner], case)
    step, b, c = np.split(u @ w["x_proj.weight"].T, [rank, rank + states], -1)
    step = np.log1p(np.exp(step @ w["dt_proj.weight"].T + w["dt_proj.bias"]))
    hidden, outputs = np.zeros((inner, states)), []
    for t in range(len(x)):
        hidden = np.exp(-step[t][:, None] * np.exp(w["A_log"])) * hidden + (step[t] * u[t])[:, None] * b[t]
        outputs.append(hidden @ c[t] + w["D"] * u[t])
    return (np.array(outputs) * silu(projected[:, inner:])) @ w["out_proj.weight"].T


def mamba2(w, x, case):
    inner, states = case.config["expand"] * case.config["hidden_size"], case.config["state_size"]
    heads, groups = case.config["num_heads"], case.config["n_groups"]
    gate, u, step = np.split(x @ w["in_proj.weight"].T, [inner, -heads], -1)
    u, b, c = np.split(convolved(w, u, case), [inner, inner + groups * states], -1)
    u = u.reshape(len(x), heads, -1)
    b, c = (np.repeat(part.reshape(len(x), groups, states), heads // groups, 1) for part in (b, c))
    step = np.log1p(np.exp(step + w["dt_bias"]))
    hidden, outputs = np.zeros((heads, u.shape[2], states)), []
    for t in range(len(x)):
        decay = np.exp(-step[t] * np.exp(w["A_log"]))[:, None, None]
        hidden = decay * hidden + step[t][:, None, None] * u[t][:, :, None] * b[t][:, None, :]
        outputs.append(np.sum(hidden * c[t][:, None, :], -1) + w["D"][:, None] * u[t])
    gated = np.array(outputs).reshape(len(x), inner) * silu(gate)
    gated = norm(gated.reshape(len(x), groups, -1), case, 1.0).reshape(len(x), inner)
    return (gated * w["norm.weight"]) @ w["out_proj.weight"].T


def assert_loads(load, path, expected, **overrides):
    model = load(path, **overrides)
    assert type(model) is LanguageModel
    logits = keras.ops.convert_to_numpy(model(TOKEN_IDS))[0]
    # Rounding in float32 through three layers, of logits up to 20.
    np.testing.assert_allclose(logits, expected, atol=1e-4)


@pytest.mark.any_backend
@BOTH
def test_a_folder_of_hugging_face(tmp_path, case, other):
    # Rows beyond the vocabulary are kept.
    folder = write_folder(tmp_path / "folder", other, {**config_of(other), "vocab_size": 45})
    assert_loads(LOADERS[other.family], folder, expected_logits(other))


@pytest.mark.any_backend
@BOTH
def test_a_folder_of_the_authors(tmp_path, case, other):
    load, weights, expected = LOADERS[case.family], mamba_authors_weights(case), expected_logits(case)
    (tmp_path / "config.json").write_text(json.dumps(authors_config(case)))
    write_safetensors(tmp_path / "model.safetensors", weights)
    assert_loads(load, tmp_path, expected)
    # The table's rows of no token are kept, and cut on demand.
    assert load(tmp_path).config.vocabulary_size == 48
    assert_loads(load, tmp_path, expected[:, :45], vocabulary_size=45)
    torch = pytest.importorskip("torch", reason="needs the extra torch")
    torch.save({name: torch.tensor(array) for name, array in weights.items()}, tmp_path / "pytorch_model.bin")
    expected = bits(load(tmp_path))
    (tmp_path / "model.safetensors").unlink()
    for path in (tmp_path, tmp_path / "pytorch_model.bin"):
        assert bits(load(path)) == expected


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
@BOTH
@pytest.mark.parametrize("cls", [LanguageModel, Griffin])
def test_from_preset(tmp_path, cls, case, other):
    folder = write_folder(tmp_path / "mamba", case)
    model, expected = cls.from_preset(folder, name="mamba", dtype="mixed_bfloat16"), LOADERS[case.family](folder)
    assert type(model) is Griffin
    assert (model.name, model.config, model.dtype_policy.name) == ("mamba", expected.config, "mixed_bfloat16")
    assert bits(model) == bits(expected)
    title = "Mamba" if case is MAMBA else "Mamba-2"
    with pytest.raises(
        ValueError, match=rf"^from_preset: a checkpoint of {title} is a Griffin\. Got Hawk\.from_preset\.$"
    ):
        Hawk.from_preset(folder)
