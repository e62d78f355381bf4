import os

import keras
import numpy as np
import pytest

from keras_griffin.__main__ import main
from keras_griffin.conversion import save_huggingface
from keras_griffin.files.safetensors import SafeTensors, write_safetensors
from keras_griffin.models import Griffin, GriffinConfig
from keras_griffin.models.saving.preset_files import save_to_preset
from keras_griffin.models.saving.weights import as_array
from keras_griffin.tokenizers import ByteTokenizer

CONFIG = GriffinConfig(
    vocabulary_size=256,
    width=16,
    num_layers=3,
    num_heads=2,
    window=4,
    num_gate_blocks=2,
    decay_initializer="ring",
    scale_embeddings=True,
    logits_soft_cap=5.0,
)


@pytest.fixture
def model():
    model = Griffin(CONFIG)
    model.tokenizer = ByteTokenizer()
    return model


def values(model):
    return {variable.path: as_array(variable).tobytes() for variable in model.weights}


def test_a_folder_of_hugging_face_becomes_a_preset_and_one_again(tmp_path, model, capsys):
    theirs, preset, again = (str(tmp_path / name) for name in ("theirs", "preset", "again"))
    save_huggingface(model, theirs)
    assert main(["convert", theirs, preset]) == 0
    lines = capsys.readouterr().out.splitlines()
    size = 4 * CONFIG.parameter_count() / 1e9
    assert lines[:2] == [
        f"Reading {theirs}",
        f"Writing a Griffin with {CONFIG.parameter_count():,} parameters, {size:.2f} GB, to {preset}",
    ]
    assert lines[2].startswith("Done in ") and lines[2].endswith(
        " s: byte_tokenizer.json, config.json, keras_griffin_checksums.json, model.safetensors"
    )
    loaded = Griffin.from_preset(preset)
    assert (values(loaded), loaded.config, loaded.tokenizer) == (values(model), CONFIG, ByteTokenizer())
    assert main(["convert", preset, again, "--to", "huggingface"]) == 0
    for name in os.listdir(theirs):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "theirs" / name).read_bytes()


@pytest.mark.any_backend
@pytest.mark.trainable
def test_the_file_of_train_becomes_a_preset(finished_run, tmp_path):
    file, preset = str(finished_run[0] / "model.keras"), str(tmp_path / "preset")
    assert main(["convert", file, preset]) == 0
    loaded, trained = Griffin.from_preset(preset), keras.saving.load_model(file)
    assert (values(loaded), loaded.tokenizer) == (values(trained), ByteTokenizer())
    assert main(["convert", file, str(tmp_path / "few"), "--quantize", "int8"]) == 0
    assert Griffin.from_preset(tmp_path / "few").quantized_to == "int8"


@pytest.mark.any_backend
def test_in_another_dtype(tmp_path, model):
    save_to_preset(model, tmp_path / "preset")
    assert main(["convert", str(tmp_path / "preset"), str(tmp_path / "half"), "--dtype", "bfloat16"]) == 0
    tensors = SafeTensors(tmp_path / "half" / "model.safetensors")
    assert {str(tensors.dtype(name)) for name in tensors} == {"bfloat16"}
    assert Griffin.from_preset(tmp_path / "half").dtype_policy.name == "bfloat16"


def refusal(argv, capsys):
    assert main(["convert", *argv]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


@pytest.mark.any_backend
def test_a_source_that_is_no_model(tmp_path, capsys):
    target = str(tmp_path / "target")
    write_safetensors(tmp_path / "a.safetensors", {"a": np.zeros(2)})
    error = refusal([str(tmp_path / "a.safetensors"), target], capsys)
    assert error.startswith("keras_griffin convert: the checkpoint must have the tensor ")
    assert refusal([str(tmp_path), target], capsys).startswith("keras_griffin convert: a path must be a folder ")
    assert refusal(["hf://name", target], capsys).startswith("keras_griffin convert: an address on the Hub must be ")
    rule = "SOURCE must be a .keras file, a folder, hf://OWNER/NAME or python_tiny"
    assert refusal(["", target], capsys) == f"keras_griffin convert: {rule}. Got ''.\n"
    assert not (tmp_path / "target").exists()


@pytest.mark.any_backend
def test_a_tokenizer_is_not_lost(tmp_path, model, monkeypatch, capsys):
    def missing(_):
        raise ImportError("Install something.")

    save_to_preset(model, tmp_path / "preset")
    monkeypatch.setattr("keras_griffin.models.saving.preset_files.load_tokenizer", missing)
    error = refusal([str(tmp_path / "preset"), str(tmp_path / "target")], capsys)
    assert error.startswith(
        "keras_griffin convert: SOURCE must come with a tokenizer that can be read. The model is loaded without "
    )


@pytest.mark.any_backend
def test_a_target_that_holds_something_else_or_cannot_be_written(tmp_path, model, capsys):
    source, target = str(tmp_path / "preset"), tmp_path / "target"
    save_to_preset(model, source)
    target.mkdir()
    (target / "mine.txt").write_text("mine")
    error = refusal([source, str(target), "--overwrite"], capsys)
    assert error.startswith("keras_griffin convert: ") and error.endswith("with mine.txt.\n")
    error = refusal([source, str(target / "mine.txt" / "below")], capsys)
    assert error.startswith(
        "keras_griffin convert: the path must be a folder or not exist yet, and its parents must be folders. Got '"
    )
    assert os.listdir(target) == ["mine.txt"]


@pytest.mark.any_backend
def test_a_folder_is_replaced_only_if_that_is_asked_for(tmp_path, model, capsys):
    source, target = str(tmp_path / "preset"), tmp_path / "target"
    save_to_preset(model, source)
    assert main(["convert", source, str(target)]) == 0
    before = (target / "config.json").read_bytes()
    capsys.readouterr()
    assert main(["convert", source, str(target), "--dtype", "bfloat16"]) == 2
    printed = capsys.readouterr()
    # Nothing is read in vain.
    assert not printed.out and (target / "config.json").read_bytes() == before
    assert printed.err == (
        "keras_griffin convert: TARGET must be a new folder, or an empty one; --overwrite replaces an earlier result. "
        f"Got {str(target)!r}, which has byte_tokenizer.json, config.json, keras_griffin_checksums.json and more.\n"
    )
    assert main(["convert", source, str(target), "--dtype", "bfloat16", "--overwrite"]) == 0
    assert (target / "config.json").read_bytes() != before


@pytest.mark.any_backend
def test_a_full_disk_leaves_the_earlier_folder(tmp_path, model, limit_files, capsys):
    source, target = str(tmp_path / "preset"), tmp_path / "target"
    save_to_preset(model, source)
    assert main(["convert", source, str(target)]) == 0
    before = {path.name: path.read_bytes() for path in target.iterdir()}
    capsys.readouterr()
    with limit_files(4096):
        error = refusal([source, str(target), "--overwrite"], capsys)
    assert error.startswith(
        "keras_griffin convert: TARGET must be a writable folder, on a disk with enough space. Got '"
    )
    assert {path.name: path.read_bytes() for path in target.iterdir()} == before
    assert sorted(os.listdir(tmp_path)) == ["preset", "target"]


@pytest.mark.any_backend
def test_a_model_that_the_target_s_format_has_not(tmp_path, capsys):
    save_to_preset(Griffin(CONFIG.replace(scale_embeddings=False)), tmp_path / "preset")
    error = refusal([str(tmp_path / "preset"), str(tmp_path / "target"), "--to", "huggingface"], capsys)
    assert error == "keras_griffin convert: scale_embeddings must be True for transformers. Got False.\n"


@pytest.mark.trainable  # Keras's NumPy backend warns of what its int8 layers need for gradients
@pytest.mark.slow
def test_a_model_is_quantised_on_the_way(model, tmp_path, capsys):
    whole, few = str(tmp_path / "whole"), str(tmp_path / "few")
    save_to_preset(model, whole)
    assert main(["convert", whole, few, "--quantize", "int4"]) == 0
    loaded = Griffin.from_preset(few)
    model.quantize("int4")
    assert loaded.quantized_to == "int4" and values(loaded) == values(model)
    capsys.readouterr()
    error = refusal([few, str(tmp_path / "again"), "--quantize", "int8"], capsys)
    assert error.endswith(" --quantize needs a SOURCE that is not quantised. Got one quantised to int4.\n")
    error = refusal([whole, few, "--quantize", "int8", "--to", "huggingface"], capsys)
    assert error == "keras_griffin convert: --quantize must go with --to preset. Got huggingface.\n"
