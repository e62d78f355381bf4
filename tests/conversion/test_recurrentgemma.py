import json

import keras
import numpy as np
import pytest

from keras_griffin.conversion import load_recurrentgemma
from keras_griffin.files.safetensors import write_safetensors
from keras_griffin.models import Griffin
from keras_griffin.tokenizers import ByteTokenizer

TOKEN_IDS = np.random.default_rng(1).integers(1, 260, 19)
#: What no shape of DeepMind's tells, and differs from the released values.
OVERRIDES = {"window": 6, "logits_soft_cap": 4.0, "norm_epsilon": 1e-5, "rotary_base": 500.0}


def assert_loads(path, expected, **overrides):
    model = load_recurrentgemma(path, **overrides)
    assert type(model) is Griffin
    logits = keras.ops.convert_to_numpy(model(TOKEN_IDS[None]))[0]
    # Rounding in float32 through five layers.
    np.testing.assert_allclose(logits, expected, atol=2e-5)


@pytest.mark.any_backend
@pytest.mark.parametrize("num_shards", [1, 3])
def test_a_folder_of_hugging_face(tmp_path, checkpoints, num_shards):
    weights = checkpoints.huggingface_weights()
    folder = checkpoints.write_huggingface(tmp_path / "folder", weights, num_shards=num_shards)
    expected = checkpoints.expected_logits(weights, TOKEN_IDS)
    assert_loads(folder, expected)
    if num_shards == 1:
        assert_loads(folder / "model.safetensors", expected)


@pytest.mark.any_backend
def test_as_many_key_heads_as_heads_where_the_config_is_silent(tmp_path, checkpoints):
    config = {name: value for name, value in checkpoints.config.items() if name != "num_key_value_heads"}
    weights = checkpoints.huggingface_weights(kv=4)
    folder = checkpoints.write_huggingface(tmp_path / "folder", weights, config)
    assert_loads(folder, checkpoints.expected_logits(weights, TOKEN_IDS))


@pytest.mark.parametrize("linear", ["kernel", "weight"])
@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pt"])
@pytest.mark.parametrize("prefix", ["", "params."])
def test_a_checkpoint_of_deepmind(tmp_path, checkpoints, linear, suffix, prefix):
    weights = checkpoints.huggingface_weights()
    theirs = checkpoints.deepmind_weights(weights, linear)
    path = tmp_path / f"checkpoint{suffix}"
    if suffix == ".safetensors":
        write_safetensors(path, {prefix + name: array for name, array in theirs.items()})
    elif suffix == ".npz":
        np.savez(path, **{prefix + name: array for name, array in theirs.items()})
    else:
        torch = pytest.importorskip("torch", reason="needs the extra torch")
        tensors = {name: torch.tensor(np.ascontiguousarray(array)) for name, array in theirs.items()}
        torch.save({"params": tensors} if prefix else tensors, path)
    # Their window of 5 is one of 6 keys.
    assert_loads(path, checkpoints.expected_logits(weights, TOKEN_IDS, window=6), **OVERRIDES)


@pytest.mark.any_backend
def test_an_orbax_folder_of_deepmind(tmp_path, checkpoints):
    orbax = pytest.importorskip("orbax.checkpoint", reason="needs the extra orbax")
    weights = checkpoints.huggingface_weights()
    tree = {}
    for name, array in checkpoints.deepmind_weights(weights, "kernel").items():
        # Flax has keys with a dot: blocks.0.
        *keys, last = name.replace("blocks.", "blocks/").split(".")
        branch = tree
        for key in keys:
            branch = branch.setdefault(key.replace("/", "."), {})
        branch[last] = array
    orbax.PyTreeCheckpointer().save(tmp_path / "orbax", {"params": tree})
    assert_loads(tmp_path / "orbax", checkpoints.expected_logits(weights, TOKEN_IDS, window=6), **OVERRIDES)


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda weights: weights.pop("model.layers.1.mlp_block.up_proj.weight"),
            r"Got no model\.layers\.1\.mlp_block\.up_proj\.weight, which should be \(40, 32\)\.$",
        ),
        (
            lambda weights: weights.update({"model.layers.9.x": np.zeros(3)}),
            r"Got model\.layers\.9\.x \(3,\), which is unknown\.$",
        ),
        (
            lambda weights: weights.update({"model.layers.0.temporal_block.conv_1d.weight": np.zeros((48, 4))}),
            r"Got model\.layers\.0\.\w+\.conv_1d\.weight of shape \(48, 4\), which should be \(48, 1, 4\)\.$",
        ),
        (
            lambda weights: weights.update({"model.final_norm.weight": np.zeros(32, "int8")}),
            r"Got model\.final_norm\.weight of dtype int8, which should be floating point\.$",
        ),
    ],
)
def test_every_tensor_must_be_there_and_no_other(tmp_path, checkpoints, change, sentence):
    weights = checkpoints.huggingface_weights()
    change(weights)
    folder = checkpoints.write_huggingface(tmp_path / "folder", weights)
    with pytest.raises(ValueError, match=r"^load_recurrentgemma: the tensors must be exactly those .*" + sentence):
        load_recurrentgemma(folder)


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"hidden_size": 2**20, "head_dim": 8},
            r"model\.embed_tokens\.weight of shape \(260, 32\), .* \(260, 1048576\);",
        ),
        ({"vocab_size": 2**26}, r"model\.embed_tokens\.weight of shape \(260, 32\), which should be \(67108864, 32\)"),
        ({"intermediate_size": 2**40}, r"model\.layers\.0\.mlp_block\.gate_proj\.weight of shape"),
        ({"num_hidden_layers": 6}, r"no model\.layers\.5\."),
        ({"num_hidden_layers": 100_000}, r"num_layers 100000 and 99 tensors\.$"),
    ],
)
def test_a_config_that_asks_for_more_than_the_tensors_is_refused_first(
    tmp_path, checkpoints, monkeypatch, change, sentence
):
    def building(*_, **__):
        raise AssertionError("A model is built.")

    monkeypatch.setattr(Griffin, "__init__", building)
    weights = checkpoints.huggingface_weights()
    folder = checkpoints.write_huggingface(tmp_path / "folder", weights, {**checkpoints.config, **change})
    with pytest.raises(ValueError, match=rf"^load_recurrentgemma: .* Got {sentence}"):
        load_recurrentgemma(folder)
    write_safetensors(tmp_path / "a.safetensors", checkpoints.deepmind_weights(weights, "kernel"))
    with pytest.raises(ValueError, match=r"^load_recurrentgemma: .* Got num_layers 100000 and \d+ tensors\.$"):
        load_recurrentgemma(tmp_path / "a.safetensors", num_layers=100_000)


@pytest.mark.any_backend
def test_what_is_no_recurrentgemma_is_refused(tmp_path, huggingface_folder):
    write_safetensors(tmp_path / "a.safetensors", {"a": np.zeros(2), "b": np.zeros(2)})
    with pytest.raises(ValueError, match=r"must have the tensor .* or .*\. Got '.*' with 2 tensors: a, b\.$"):
        load_recurrentgemma(tmp_path / "a.safetensors")
    with pytest.raises(
        FileNotFoundError, match=r"the path must be a checkpoint\. Got '.*nowhere', which does not exist\."
    ):
        load_recurrentgemma(tmp_path / "nowhere")
    config = huggingface_folder / "config.json"
    for text, sentence in {
        "{": r"config\.json must be JSON\. Got '.*': ",
        "[]": r"config\.json must be a JSON object\. Got '.*' with a list\.",
        json.dumps({"model_type": "gemma"}): r"model_type must be 'recurrent_gemma'\. Got 'gemma'\.",
    }.items():
        config.write_text(text)
        with pytest.raises(ValueError, match=rf"^load_recurrentgemma: .*{sentence}"):
            load_recurrentgemma(huggingface_folder)
    config.unlink()
    with pytest.raises(ValueError, match=r"the folder must have a config\.json\. Got '.*' without one\."):
        load_recurrentgemma(huggingface_folder)


@pytest.mark.any_backend
def test_the_tokenizer_of_the_folder(huggingface_folder):
    assert load_recurrentgemma(huggingface_folder).tokenizer is None
    ByteTokenizer().save(huggingface_folder)
    assert load_recurrentgemma(huggingface_folder).tokenizer == ByteTokenizer()
    assert load_recurrentgemma(huggingface_folder / "model.safetensors").tokenizer == ByteTokenizer()
