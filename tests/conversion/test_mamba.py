import json

import keras
import ml_dtypes
import numpy as np
import pytest

from keras_griffin.conversion import load_mamba, save_huggingface
from keras_griffin.conversion.mamba import is_mamba, load_mamba_as
from keras_griffin.files.safetensors import SafeTensors
from keras_griffin.models import Griffin, GriffinConfig, Hawk, LanguageModel
from keras_griffin.models.saving.weights import as_array
from keras_griffin.tokenizers import ByteTokenizer

TOKEN_IDS = np.random.default_rng(1).integers(1, 260, 19)
CONFIG = GriffinConfig(260, 16, 2, 1, block_pattern=("mamba",), mlp_width=0, norm_epsilon=1e-5)


def assert_loads(path, expected, **overrides):
    model = load_mamba(path, **overrides)
    assert type(model) is LanguageModel
    logits = keras.ops.convert_to_numpy(model(TOKEN_IDS[None]))[0]
    # Rounding in float32 through three layers.
    np.testing.assert_allclose(logits, expected, atol=2e-5)


def bits(model):
    return {variable.path: as_array(variable).tobytes() for variable in model.weights}


@pytest.fixture
def folder(tmp_path, checkpoints):
    return checkpoints.write_huggingface(tmp_path / "mamba", checkpoints.mamba_weights(), checkpoints.mamba_config)


@pytest.mark.any_backend
@pytest.mark.parametrize("num_shards", [1, 3])
def test_a_folder_of_hugging_face(tmp_path, checkpoints, num_shards):
    weights = checkpoints.mamba_weights()
    folder = checkpoints.write_huggingface(tmp_path / "folder", weights, checkpoints.mamba_config, num_shards)
    expected = checkpoints.expected_mamba_logits(weights, TOKEN_IDS)
    assert_loads(folder, expected)
    if num_shards == 1:
        assert_loads(folder / "model.safetensors", expected)


@pytest.mark.any_backend
@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_a_folder_of_the_authors(tmp_path, checkpoints, suffix):
    weights = checkpoints.mamba_weights("embedding")
    expected = checkpoints.expected_mamba_logits(weights, TOKEN_IDS, epsilon=1e-5)
    weights["lm_head.weight"] = weights["backbone.embedding.weight"]
    folder = checkpoints.write_huggingface(tmp_path / "folder", weights, checkpoints.mamba_authors_config)
    if suffix == ".bin":
        torch = pytest.importorskip("torch", reason="needs the extra torch")
        (folder / "model.safetensors").unlink()
        torch.save({name: torch.tensor(array) for name, array in weights.items()}, folder / "pytorch_model.bin")
        assert_loads(folder / "pytorch_model.bin", expected)
    assert_loads(folder, expected)
    # The table's rows of no token are kept, and cut on demand.
    assert load_mamba(folder).config.vocabulary_size == 260
    assert_loads(folder, expected[:, :258], vocabulary_size=258)


@pytest.mark.any_backend
def test_rows_beyond_the_vocabulary_are_kept(tmp_path, checkpoints):
    weights = checkpoints.mamba_weights()
    config = {**checkpoints.mamba_config, "vocab_size": 255}
    folder = checkpoints.write_huggingface(tmp_path / "folder", weights, config)
    assert_loads(folder, checkpoints.expected_mamba_logits(weights, TOKEN_IDS))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_theirs_to_ours_to_theirs_bit_by_bit(tmp_path, checkpoints, dtype):
    weights = checkpoints.mamba_weights(dtype=ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    folder = checkpoints.write_huggingface(tmp_path / "theirs", weights, checkpoints.mamba_config)
    save_huggingface(load_mamba(folder, dtype), tmp_path / "ours")
    saved = SafeTensors(tmp_path / "ours" / "model.safetensors")
    assert set(saved) == set(weights) and saved.metadata == {"format": "pt"}
    for name, array in weights.items():
        # The recurrence's rates are always in float32.
        expected = array.astype("float32") if name.endswith("A_log") else array
        assert (saved.dtype(name), saved.shape(name)) == (expected.dtype, expected.shape), name
        assert saved[name].tobytes() == expected.tobytes(), name
    config = json.loads((tmp_path / "ours" / "config.json").read_text())
    assert config["dtype"] == dtype
    assert {name: config[name] for name in checkpoints.mamba_config} == checkpoints.mamba_config


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "mixed_bfloat16"])
@pytest.mark.parametrize("options", [{}, {"mamba": {"state_size": 5, "rank": 3, "expand": 1, "conv_kernel_size": 2}}])
def test_ours_to_theirs_to_ours_bit_by_bit(tmp_path, dtype, options):
    model = LanguageModel(CONFIG.replace(mixer_options=options), dtype=dtype)
    rng = np.random.default_rng(0)
    for variable in model.weights:
        # Small ones too: the scale itself could not hold their last bits.
        values = rng.standard_normal(variable.shape) * 10.0 ** -rng.integers(0, 3, variable.shape)
        variable.assign(keras.ops.cast(values, variable.dtype))
    save_huggingface(model, tmp_path / "theirs")
    loaded = load_mamba(tmp_path / "theirs", dtype)
    assert loaded.config == model.config
    assert bits(loaded) == bits(model)


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"hidden_size": 32, "intermediate_size": 96}, r"embeddings\.weight of shape \(260, 24\), which should be"),
        ({"num_hidden_layers": 100_000}, r"num_layers 100000 and 32 tensors\.$"),
        ({"num_hidden_layers": 4}, r"no backbone\.layers\.3\.norm\.weight"),
        ({"time_step_rank": 4}, r"mixer\.x_proj\.weight of shape \(13, 72\), which should be \(14, 72\)"),
    ],
)
def test_a_config_that_does_not_match_the_tensors_is_refused_first(
    tmp_path, checkpoints, monkeypatch, change, sentence
):
    def building(*_, **__):
        raise AssertionError("A model is built.")

    monkeypatch.setattr(LanguageModel, "__init__", building)
    config = {**checkpoints.mamba_config, **change}
    folder = checkpoints.write_huggingface(tmp_path / "folder", checkpoints.mamba_weights(), config)
    with pytest.raises(ValueError, match=rf"^load_mamba: .* Got .*{sentence}"):
        load_mamba(folder)


@pytest.mark.any_backend
def test_what_is_no_mamba_is_refused(huggingface_folder, folder):
    with pytest.raises(
        ValueError, match=r"^load_mamba: the checkpoint must have the tensor backbone\.embeddings\.weight or backbone\."
    ):
        load_mamba(huggingface_folder)
    (folder / "config.json").unlink()
    with pytest.raises(ValueError, match=r"^load_mamba: the folder must have a config\.json\. Got '.*' without one\."):
        load_mamba(folder)


@pytest.mark.any_backend
def test_the_tokenizer_of_the_folder(folder):
    assert load_mamba(folder).tokenizer is None
    ByteTokenizer().save(folder)
    assert load_mamba(folder).tokenizer == ByteTokenizer()


@pytest.mark.any_backend
@pytest.mark.parametrize("cls", [LanguageModel, Griffin])
def test_from_preset(folder, cls):
    assert is_mamba(SafeTensors(folder / "model.safetensors"))
    model = cls.from_preset(folder, name="mamba", dtype="mixed_bfloat16")
    expected = load_mamba_as(Griffin, folder, "mixed_bfloat16")
    assert isinstance(model, cls) and isinstance(expected, Griffin)
    assert (model.name, model.config, model.dtype_policy.name) == ("mamba", expected.config, "mixed_bfloat16")
    assert bits(model) == bits(expected)
    with pytest.raises(
        ValueError, match=r"^from_preset: a checkpoint of Mamba is a Griffin\. Got Hawk\.from_preset\.$"
    ):
        Hawk.from_preset(folder)
