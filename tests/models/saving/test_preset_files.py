import json
import os
import shutil
import zlib

import keras
import numpy as np
import pytest

from keras_griffin.files.safetensors import SafeTensors, write_safetensors
from keras_griffin.models import Griffin, GriffinConfig, Hawk, LanguageModel, MQATransformer
from keras_griffin.models.saving.checksums import CHECKSUMS
from keras_griffin.models.saving.preset_files import check_is_whole, check_saveable, load_path, save_to_preset
from keras_griffin.models.saving.weights import as_array
from keras_griffin.tokenizers import ByteTokenizer

CONFIG = GriffinConfig(vocabulary_size=256, width=16, num_layers=3, num_heads=2, window=4, num_gate_blocks=2)


def assert_same(model, expected):
    assert type(model) is type(expected) and model.config == expected.config
    assert model.dtype_policy.name == expected.dtype_policy.name
    for ours, theirs in zip(model.weights, expected.weights, strict=True):
        assert (ours.path, as_array(ours).tobytes()) == (theirs.path, as_array(theirs).tobytes())


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "preset"
    save_to_preset(Griffin(CONFIG), folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "preset")


def change_config(folder, **changes):
    """Change a config, and its checksum with it."""
    text = json.dumps({**json.loads((folder / "config.json").read_text()), **changes})
    sums = json.loads((folder / CHECKSUMS).read_text())
    sums["files"]["config.json"] = zlib.crc32(text.encode())
    (folder / "config.json").write_text(text)
    (folder / CHECKSUMS).write_text(json.dumps(sums))


@pytest.mark.parametrize(
    ("cls", "dtype"),
    [(Griffin, "float32"), (Hawk, "mixed_bfloat16"), (MQATransformer, "bfloat16"), (Griffin, "float16")],
)
def test_a_saved_model_comes_back_bit_by_bit(tmp_path, cls, dtype):
    model = cls(CONFIG, dtype=dtype)
    model.save_to_preset(tmp_path / "preset")
    assert_same(Griffin.from_preset(tmp_path / "preset"), model)
    assert_same(cls.from_preset(str(tmp_path / "preset")), model)
    assert_same(load_path(tmp_path / "preset", LanguageModel, None, None, {}), model)


@pytest.mark.any_backend
def test_the_layout_is_the_documented_one(folder):
    assert sorted(os.listdir(folder)) == ["config.json", CHECKSUMS, "model.safetensors"]
    assert json.loads((folder / "config.json").read_text()) == {
        "format": "keras_griffin",
        "format_version": 1,
        "checksums": CHECKSUMS,
        "class": "Griffin",
        "dtype": "float32",
        "config": CONFIG.to_dict(),
    }
    assert set(SafeTensors(folder / "model.safetensors")) == {variable.path for variable in Griffin(CONFIG).weights}


@pytest.mark.any_backend
def test_another_dtype_and_another_name(folder):
    model = Griffin.from_preset(folder, dtype="bfloat16", name="other")
    assert (model.name, model.dtype_policy.name) == ("other", "bfloat16")
    table = SafeTensors(folder / "model.safetensors")["token_embedding/embeddings"]
    np.testing.assert_array_equal(as_array(model.weights[0]), table.astype("bfloat16"))


@pytest.mark.any_backend
def test_a_model_of_another_class_is_refused(folder):
    for cls in (Hawk, MQATransformer):
        with pytest.raises(ValueError, match=rf"^from_preset: .* a {cls.__name__}\. Got '.*' with a Griffin\.$"):
            cls.from_preset(folder)
    change_config(folder, **{"class": "os.system"})
    with pytest.raises(ValueError, match=r"must be a Griffin\. Got '.*' with a os\.system\.$"):
        Griffin.from_preset(folder)


@pytest.mark.any_backend
def test_the_tokenizer_goes_with_the_model(tmp_path):
    model = Griffin(CONFIG)
    model.tokenizer = ByteTokenizer()
    save_to_preset(model, tmp_path / "preset")
    assert Griffin.from_preset(tmp_path / "preset").tokenizer == ByteTokenizer()
    model.tokenizer = None
    save_to_preset(model, tmp_path / "preset")
    assert Griffin.from_preset(tmp_path / "preset").tokenizer is None


@pytest.mark.any_backend
def test_a_model_serves_without_its_tokenizer_s_package(folder, monkeypatch):
    def missing(_):
        raise ImportError("Install something.")

    monkeypatch.setattr("keras_griffin.models.saving.preset_files.load_tokenizer", missing)
    with pytest.warns(UserWarning, match=r"loaded without its tokenizer\. Install something\."):
        Griffin.from_preset(folder)


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"format_version": 2}, r"format_version must be 1 .* Got 2 in '.*'"),
        ({"quantized_to": "int2"}, r"quantized_to must be one of int8, int4, if it is given\. Got 'int2' in '.*'"),
        ({"quantized_to": ["int8"]}, r"quantized_to must be one of int8, int4, .* Got \['int8'\] in '.*'"),
        ({"dtype": "float5"}, r"the dtype must be the name of a policy\. Got 'float5' in '.*'"),
        ({"dtype": {"class_name": "A"}}, r"the dtype must be the name of a policy\. Got \{'class_name': 'A'\} in '.*'"),
        ({"config": {"width": 3}}, r"the config must be a GriffinConfig\. Got '.*': .* missing .*"),
        ({"config": {**CONFIG.to_dict(), "widht": 3}}, r"the config must be a GriffinConfig\. Got '.*': .*'widht'"),
        ({"config": [16]}, r"the config must be a GriffinConfig\. Got '.*': .*"),
    ],
)
def test_a_folder_that_is_not_whole_is_refused(folder, changes, sentence):
    change_config(folder, **changes)
    with pytest.raises(ValueError, match=rf"^from_preset: {sentence}\.$"):
        Griffin.from_preset(folder)


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"width": 2**20, "head_dim": 8}, r"token_embedding/embeddings of shape \(256, 16\), .* \(256, 1048576\);.*"),
        ({"recurrence_width": 2**30}, r"block_0/mixer/gate/kernel of shape .*"),
        ({"num_layers": 4}, r"no block_3/.*"),
        ({"num_layers": 2}, r"block_2/.*, which is unknown; .*"),
        ({"num_layers": 2**60}, r"num_layers \d+ and \d+ tensors"),
    ],
)
def test_a_config_that_asks_for_more_than_the_file_holds_is_refused_first(folder, monkeypatch, changes, sentence):
    def building(*_, **__):
        raise AssertionError("A model is built.")

    monkeypatch.setattr(LanguageModel, "__init__", building)
    change_config(folder, config={**CONFIG.to_dict(), **changes})
    with pytest.raises(ValueError, match=rf"^from_preset: .* Got {sentence}\.$"):
        Griffin.from_preset(folder)


def test_weights_that_are_missing_or_broken(folder):
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"^SafeTensors: .*model\.safetensors': .*\.$"):
        Griffin.from_preset(folder)
    write_safetensors(path, {name: np.zeros(2) for name in "abc"})
    with pytest.raises(ValueError, match=r"^from_preset: .* 52 more mistakes\.$"):
        Griffin.from_preset(folder, verify=False)
    path.unlink()
    with pytest.raises(ValueError, match=r"^from_preset: a preset must contain model\.safetensors\. Got .* without it"):
        Griffin.from_preset(folder)


@pytest.mark.trainable
@pytest.mark.slow
def test_what_is_not_of_the_config_alone_is_not_saved(tmp_path):
    model = Griffin(CONFIG)
    model.blocks[0].mlp.up.enable_lora(2)
    with pytest.raises(ValueError, match=r"^save_to_preset: .* so LoRA must be merged first\. Got \d+\.$"):
        save_to_preset(model, tmp_path / "preset")
    model = Griffin(CONFIG)
    model.quantized_to = "int8"
    with pytest.raises(ValueError, match=r"^save: the model must not be quantised; save_to_preset .* Got 'int8'\.$"):
        check_saveable("save", model)
    for check in (check_saveable, check_is_whole):
        with pytest.raises(ValueError, match=r"^save: the model must be a LanguageModel\. Got <Sequential"):
            check("save", keras.Sequential([keras.Input((1,))]))
    assert not os.listdir(tmp_path)


@pytest.mark.any_backend
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
    with pytest.raises(ValueError, match=r"^save_to_preset: .* with notes\.txt\.$"):
        save_to_preset(model, folder)
    with pytest.raises(ValueError, match=r"^save_to_preset: the path of a folder must not be empty\. Got ''\.$"):
        save_to_preset(model, "")


@pytest.mark.any_backend
def test_what_is_no_preset_is_said_to_be_what_it_is(tmp_path):
    images, empty = tmp_path / "images", tmp_path / "empty"
    images.mkdir()
    empty.mkdir()
    for name in "abcde":
        (images / f"{name}.png").write_bytes(b"\x89PNG")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "model.keras").write_text("")
    for path, sentence in {
        images: r"a path must be a folder written .* Got '.*', a folder with a\.png, b\.png, c\.png and 2 more",
        empty: r"a path must be .* Got '.*', an empty folder",
        images / "a.png": r"a path must be .* Got '.*', a file",
        tmp_path / "link": r"a path must be .* Got '.*', a broken link",
        tmp_path / "nowhere": r"a path must be an existing folder or file\. Got '.*', which does not exist",
        tmp_path / "model.keras": r"a \.keras file must be loaded by keras\.saving\.load_model\. Got '.*'",
        # As the folder of a run.
        tmp_path: r"a \.keras file must be loaded by keras\.saving\.load_model\. Got '.*/model\.keras'",
    }.items():
        with pytest.raises(ValueError, match=rf"^from_preset: {sentence}\.$"):
            Griffin.from_preset(path)


@pytest.mark.any_backend
def test_a_config_that_is_no_json_object(folder):
    (folder / CHECKSUMS).unlink()
    for text in (b"{", b"[]"):
        (folder / "config.json").write_bytes(text)
        with pytest.raises(ValueError, match=r"^from_preset: config\.json must be .*JSON.* Got '.*config\.json'"):
            Griffin.from_preset(folder)
