import json
import re
import sys
import zipfile

import keras
import pytest

from keras_griffin.commands.shared.errors import CommandError
from keras_griffin.commands.shared.load import load_any_model, load_model, load_named_tokenizer, load_text_model
from keras_griffin.conversion import save_huggingface
from keras_griffin.models import Griffin, GriffinConfig, Hawk
from keras_griffin.models.saving.preset_files import save_to_preset
from keras_griffin.models.saving.weights import as_array
from keras_griffin.tokenizers import ByteTokenizer, train_bpe

CONFIG = GriffinConfig(vocabulary_size=256, width=16, num_layers=1, num_heads=2)


def save_keras_file(model, path):
    # Keras warns of an optimizer that was saved before its first step.
    model.optimizer.build(model.trainable_variables)
    model.save(path)
    return path


SAVERS = {
    "keras": lambda model, path: save_keras_file(model, path.with_suffix(".keras")),
    "preset": lambda model, path: save_to_preset(model, path),
    "huggingface": lambda model, path: save_huggingface(model, path),
}


@pytest.mark.parametrize("form", SAVERS)
def test_a_model_comes_with_its_tokenizer_from_whatever_form(form, gemma_model, tmp_path):
    name = str(SAVERS[form](gemma_model, tmp_path / "model") or tmp_path / "model")
    model = load_text_model("generate", name)
    assert model.tokenizer == gemma_model.tokenizer
    ours, theirs = (as_array(each.token_embedding.embeddings) for each in (model, gemma_model))
    assert ours.tobytes() == theirs.tobytes()


@pytest.mark.any_backend
def test_a_model_on_the_hub(gemma_model, tmp_path, monkeypatch):
    save_to_preset(gemma_model, tmp_path / "preset")
    folders = {"hf://owner/name": tmp_path / "preset"}
    monkeypatch.setattr("keras_griffin.models.saving.from_preset.download", folders.__getitem__)
    assert load_text_model("generate", "hf://owner/name").tokenizer == gemma_model.tokenizer


@pytest.mark.any_backend
@pytest.mark.parametrize("form", ["keras", "preset"])
def test_a_model_over_256_ids_reads_bytes(form, tmp_path):
    """Also one that was saved before models had tokenizers; any family."""
    name = str(SAVERS[form](Hawk(CONFIG), tmp_path / "model") or tmp_path / "model")
    model = load_text_model("generate", name)
    assert (type(model), model.tokenizer) == (Hawk, ByteTokenizer())
    assert load_model("convert", name).tokenizer is None


def refusal(name, dtype=None):
    with pytest.raises(CommandError) as error:
        load_text_model("chat", str(name), dtype)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.any_backend
def test_what_is_nowhere_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.keras"
    assert refusal(path) == f"chat: --model must be a file that exists. Got '{path}'."
    assert refusal(tmp_path).startswith("from_preset: a path must be a folder written by save_to_preset, or ")
    assert refusal("hf://name") == "from_preset: an address on the Hub must be hf://owner/name. Got 'hf://name'."
    for name in ("no/such", "griffin_100m", ""):
        rule = "chat: --model must be a .keras file, a folder, hf://OWNER/NAME or python_tiny. Got "
        assert refusal(name) == f"{rule}{name!r}."


@pytest.mark.any_backend
def test_a_folder_of_a_run_stands_for_its_model(tmp_path, monkeypatch):
    save_keras_file(Griffin(CONFIG), tmp_path / "model.keras")
    assert load_text_model("chat", str(tmp_path)).config == CONFIG
    sentence = "chat: --dtype must not be given for a .keras file, which has its own. Got 'float16'."
    assert refusal(tmp_path, "float16") == sentence
    # But no name is no folder.
    monkeypatch.chdir(tmp_path)
    assert refusal("") == "chat: --model must be a .keras file, a folder, hf://OWNER/NAME or python_tiny. Got ''."
    assert refusal("pyhton_tiny").endswith("Got 'pyhton_tiny'; did you mean 'python_tiny'?")


@pytest.mark.any_backend
@pytest.mark.parametrize("form", ["keras", "preset"])
def test_a_model_over_other_ids_without_a_tokenizer_is_refused(form, tmp_path):
    name = str(SAVERS[form](Griffin(CONFIG.replace(vocabulary_size=100)), tmp_path / "model") or tmp_path / "model")
    assert refusal(name) == (
        "chat: --model must come with a tokenizer, or have a vocabulary of the 256 bytes. "
        f"Got '{name}' with 100 ids and no tokenizer."
    )


@pytest.mark.any_backend
@pytest.mark.parametrize("form", SAVERS)
def test_a_tokenizer_whose_package_is_missing_is_told(form, gemma_model, tmp_path, monkeypatch):
    name = str(SAVERS[form](gemma_model, tmp_path / "model") or tmp_path / "model")
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    assert "pip install 'keras-griffin[tokenizers]'" in refusal(name)


def write_config(text):
    def write(path):
        with zipfile.ZipFile(path, "w") as archive:
            for name in ("config.json", "metadata.json", "model.weights.h5"):
                archive.writestr(name, text)

    return write


@pytest.mark.any_backend
@pytest.mark.parametrize(
    "write_file", [lambda path: path.write_text("no archive"), write_config("{"), write_config("[]")]
)
def test_a_file_that_keras_did_not_write_is_refused(write_file, tmp_path):
    path = tmp_path / "model.keras"
    write_file(path)
    assert refusal(path) == f"chat: --model must be a valid .keras file. Got '{path}', which is not."


@pytest.mark.any_backend
def test_a_model_that_is_not_ours_is_refused_and_not_loaded(tmp_path, monkeypatch):
    path = tmp_path / "model.keras"
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]).save(path)
    monkeypatch.setattr(keras.saving, "load_model", None)
    assert refusal(path) == (
        f"chat: --model must hold a language model of keras_griffin. Got '{path}' with a 'Sequential'."
    )


def test_a_damaged_file_is_refused(tmp_path):
    path, whole_path = tmp_path / "model.keras", save_keras_file(Griffin(CONFIG), tmp_path / "whole.keras")
    with zipfile.ZipFile(whole_path) as whole, zipfile.ZipFile(path, "w") as damaged:
        for name in whole.namelist():
            data = whole.read(name)
            damaged.writestr(name, data[: len(data) // 2] if name.endswith(".h5") else data)
    assert refusal(path).startswith(f"chat: --model must be a valid .keras file of this version. Got '{path}': ")


@pytest.mark.any_backend
@pytest.mark.parametrize(
    "changes", [{"width": 2**24, "head_dim": 8}, {"vocabulary_size": 2**40}, {"num_layers": 2**60}]
)
def test_a_config_that_asks_for_more_than_the_file_holds_is_refused_first(tmp_path, monkeypatch, changes):
    path, whole_path = tmp_path / "model.keras", save_keras_file(Griffin(CONFIG), tmp_path / "whole.keras")
    with zipfile.ZipFile(whole_path) as whole, zipfile.ZipFile(path, "w") as changed:
        for name in whole.namelist():
            data = whole.read(name)
            if name == "config.json":
                content = json.loads(data)
                content["config"]["config"] |= changes
                data = json.dumps(content)
            changed.writestr(name, data)
    monkeypatch.setattr(keras.saving, "load_model", None)
    assert re.fullmatch(
        r"chat: --model must be a valid .* weights of \d+ bytes, too few for its config\.", refusal(path)
    )
    assert refusal_of_any(path).endswith(" bytes, too few for its config.")


@pytest.mark.any_backend
def test_a_layer_of_ours_alone_is_refused(tmp_path):
    """It is registered under the package's name too."""
    path = tmp_path / "model.keras"

    @keras.saving.register_keras_serializable("keras_griffin")
    class NoLanguageModel(keras.Sequential):
        pass

    NoLanguageModel([keras.Input((2,)), keras.layers.Dense(2)]).save(path)
    assert refusal(path) == (
        "chat: --model must hold a language model of keras_griffin. "
        f"Got '{path}' with a 'keras_griffin>NoLanguageModel'."
    )


def refusal_of_any(path):
    with pytest.raises(CommandError) as error:
        load_any_model("export", str(path), "MODEL")
    return str(error.value)


@pytest.mark.any_backend
def test_any_model_of_keras_is_loaded_by_a_command_that_takes_it(tmp_path):
    path = tmp_path / "model.keras"
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    model.save(path)
    loaded = load_any_model("export", str(path), "MODEL")
    assert [as_array(weight).tobytes() for weight in loaded.weights] == [
        as_array(weight).tobytes() for weight in model.weights
    ]
    assert load_any_model("export", "python_tiny", "MODEL").tokenizer is not None
    save_to_preset(Griffin(CONFIG, dtype="bfloat16"), tmp_path / "preset")
    assert load_any_model("export", str(tmp_path / "preset"), "MODEL").dtype_policy.name == "float32"


@pytest.mark.any_backend
def test_code_in_a_file_is_not_run_and_a_class_that_is_unknown_is_named(tmp_path):
    path, inputs = tmp_path / "model.keras", keras.Input((2,))
    keras.Model(inputs, keras.layers.Lambda(lambda x: x + 1)(inputs)).save(path)
    rule = f"export: MODEL must be a valid .keras file of this version. Got '{path}': "
    assert refusal_of_any(path) == (
        f"{rule}Requested the deserialization of a `Lambda` layer whose `function` is a Python lambda."
    )

    class Mine(keras.layers.Layer):
        def call(self, x):
            return x

    keras.Model(inputs, Mine()(inputs)).save(path)
    assert refusal_of_any(path) == f"{rule}Could not locate class 'Mine'."


@pytest.mark.any_backend
def test_a_tokenizer_is_found_in_a_folder_or_in_a_file_and_no_name_means_bytes(tmp_path):
    tokenizer = train_bpe(["the cat"], 300)
    tokenizer.save(tmp_path)
    for path in (tmp_path, tmp_path / "tokenizer.json"):
        assert load_named_tokenizer("train", str(path)) == tokenizer
    assert load_named_tokenizer("train", None) == ByteTokenizer()
    for path in ("", "no/where"):
        with pytest.raises(CommandError) as error:
            load_named_tokenizer("train", path)
        assert str(error.value) == (
            "train: --tokenizer must be a folder with one of byte_tokenizer.json, tokenizer.json, tokenizer.model. "
            f"Got {path!r}."
        )
