import json
import os

import keras
import numpy as np
import pytest

from keras_griffin.files import SafeTensors, write_safetensors
from keras_griffin.models import Griffin, GriffinConfig, Hawk, LanguageModel, MQATransformer
from keras_griffin.models.preset_files import FORMATS, PresetFormat, check_saveable, load_path, save_to_preset
from keras_griffin.models.weights import as_array
from keras_griffin.tokenizers import ByteTokenizer

CONFIG = GriffinConfig(vocabulary_size=256, width=16, num_layers=3, num_heads=2, window=4, num_gate_blocks=2)


def assert_same(model, expected):
    assert type(model) is type(expected) and model.config == expected.config
    assert model.dtype_policy.name == expected.dtype_policy.name
    for ours, theirs in zip(model.weights, expected.weights, strict=True):
        assert (ours.path, as_array(ours).tobytes()) == (theirs.path, as_array(theirs).tobytes())


@pytest.fixture
def folder(tmp_path):
    save_to_preset(Griffin(CONFIG), tmp_path / "preset")
    return tmp_path / "preset"


def change_config(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


@pytest.mark.parametrize("cls", [Griffin, Hawk, MQATransformer])
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "bfloat16", "float16"])
def test_a_saved_model_comes_back_bit_by_bit(tmp_path, cls, dtype):
    model = cls(CONFIG, dtype=dtype)
    save_to_preset(model, tmp_path / "preset")
    assert_same(Griffin.from_preset(tmp_path / "preset"), model)
    assert_same(cls.from_preset(str(tmp_path / "preset")), model)
    assert_same(load_path(tmp_path / "preset", LanguageModel, None, None, {}), model)


def test_a_model_saves_itself(tmp_path):
    model = Griffin(CONFIG)
    model.save_to_preset(tmp_path / "preset")
    assert_same(Griffin.from_preset(tmp_path / "preset"), model)


def test_the_layout_is_the_documented_one(folder):
    assert sorted(os.listdir(folder)) == ["config.json", "model.safetensors"]
    assert json.loads((folder / "config.json").read_text()) == {
        "format": "keras_griffin",
        "format_version": 1,
        "class": "Griffin",
        "dtype": "float32",
        "config": CONFIG.to_dict(),
    }
    assert set(SafeTensors(folder / "model.safetensors")) == {variable.path for variable in Griffin(CONFIG).weights}


def test_another_dtype_and_another_name(folder):
    model = Griffin.from_preset(folder, dtype="bfloat16", name="other")
    assert (model.name, model.dtype_policy.name) == ("other", "bfloat16")
    table = SafeTensors(folder / "model.safetensors")["token_embedding/embeddings"]
    np.testing.assert_array_equal(as_array(model.weights[0]), table.astype("bfloat16"))


def test_overrides_that_change_no_shape(folder):
    changes = {"window": 2, "logits_soft_cap": 3.0, "scale_embeddings": True, "rotary_base": 100.0}
    assert Griffin.from_preset(folder, **changes).config == CONFIG.replace(**changes)
    with pytest.raises(ValueError, match=r"^from_preset: beside saved weights, overrides must be .* Got width\.$"):
        Griffin.from_preset(folder, width=32, window=2)


def test_a_plain_language_model_is_a_griffin(tmp_path):
    save_to_preset(LanguageModel(CONFIG), tmp_path / "preset")
    assert type(Griffin.from_preset(tmp_path / "preset")) is Griffin


def test_a_model_of_another_class_is_refused(folder):
    for cls in (Hawk, MQATransformer):
        with pytest.raises(
            ValueError, match=rf"^from_preset: .* must be a {cls.__name__}\. Got '.*' with a Griffin\.$"
        ):
            cls.from_preset(folder)
    change_config(folder, **{"class": "os.system"})
    with pytest.raises(ValueError, match=r"must be a Griffin\. Got '.*' with a os\.system\.$"):
        Griffin.from_preset(folder)


def test_the_tokenizer_goes_with_the_model(tmp_path):
    model = Griffin(CONFIG)
    model.tokenizer = ByteTokenizer()
    save_to_preset(model, tmp_path / "preset")
    assert Griffin.from_preset(tmp_path / "preset").tokenizer == ByteTokenizer()
    model.tokenizer = None
    save_to_preset(model, tmp_path / "preset")
    assert Griffin.from_preset(tmp_path / "preset").tokenizer is None


def test_a_model_serves_without_its_tokenizer_s_package(folder, monkeypatch):
    def missing(_):
        raise ImportError("Install something.")

    monkeypatch.setattr("keras_griffin.models.preset_files.load_tokenizer", missing)
    with pytest.warns(UserWarning, match=r"loaded without its tokenizer\. Install something\."):
        Griffin.from_preset(folder)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"format_version": 2}, r"format_version must be 1 .* Got 2 in '.*'"),
        ({"config": {"width": 3}}, r"the config must be a GriffinConfig's\. Got '.*': .*"),
        ({"config": None}, r"the config must be a GriffinConfig's\. Got '.*': .*"),
        (
            {"config": {**CONFIG.to_dict(), "mlp_width": 40}},
            r"the tensors must be those of the model, .* Got block_0/.*",
        ),
    ],
)
def test_a_folder_that_is_not_whole_is_refused(folder, changes, sentence):
    change_config(folder, **changes)
    with pytest.raises(ValueError, match=rf"^from_preset: {sentence}\.$"):
        Griffin.from_preset(folder)


def test_weights_that_are_missing_or_broken(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"^SafeTensors: the tensors must fill the file\."):
        Griffin.from_preset(folder)
    write_safetensors(path, {"a": np.zeros(2)})
    with pytest.raises(ValueError, match=r"^from_preset: .* 50 more such mistakes\.$"):
        Griffin.from_preset(folder)
    path.unlink()
    with pytest.raises(ValueError, match=r"^from_preset: a preset must hold model\.safetensors\. Got '.*' without\.$"):
        Griffin.from_preset(folder)


@pytest.mark.trainable
def test_what_is_not_of_the_config_alone_is_not_saved(tmp_path):
    model = Griffin(CONFIG)
    model.blocks[0].mlp.up.enable_lora(2)
    with pytest.raises(ValueError, match=r"^save_to_preset: .* so LoRA must be merged first\. Got \d+\.$"):
        save_to_preset(model, tmp_path / "preset")
    model = Griffin(CONFIG)
    model.quantize("int8")
    with pytest.raises(ValueError, match=r"^save_to_preset: .* must not be quantised; .* Got 'int8'\.$"):
        save_to_preset(model, tmp_path / "preset")
    with pytest.raises(ValueError, match=r"^save: the model must be a LanguageModel\. Got <Sequential"):
        check_saveable("save", keras.Sequential([keras.Input((1,))]))
    assert not os.listdir(tmp_path)


def test_a_save_that_fails_leaves_the_earlier_preset(folder, monkeypatch):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def fail(*_):
        raise OSError("disk full")

    model = Griffin(CONFIG)
    monkeypatch.setattr(ByteTokenizer, "save", fail)
    model.tokenizer = ByteTokenizer()
    with pytest.raises(OSError, match="disk full"):
        save_to_preset(model, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"^whole_folder: .* with notes\.txt\.$"):
        save_to_preset(model, folder)


def test_a_path_that_no_format_recognises(tmp_path):
    (tmp_path / "config.json").write_text("{")
    (tmp_path / "model.keras").write_text("")
    for path in (tmp_path, tmp_path / "model.keras"):
        with pytest.raises(ValueError, match=r"^from_preset: a path must lead to a folder that save_to_preset wrote, "):
            Griffin.from_preset(path)


def test_a_new_format_is_a_row_in_the_list(tmp_path, monkeypatch):
    model = Griffin(CONFIG)
    row = PresetFormat(lambda path: path.suffix == ".mine", lambda path, cls, dtype, name, overrides: model)
    monkeypatch.setattr("keras_griffin.models.preset_files.FORMATS", [*FORMATS, row])
    (tmp_path / "a.mine").write_text("")
    assert Griffin.from_preset(tmp_path / "a.mine") is model
