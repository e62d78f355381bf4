import argparse
import zipfile

import keras
import pytest

from keras_griffin.__main__ import main
from keras_griffin.commands.generate import continue_text, load_byte_model, printable
from keras_griffin.models import Griffin, GriffinConfig


@pytest.fixture(scope="module")
def model_path(tmp_path_factory):
    """A byte-level model that has learnt nothing."""
    config = GriffinConfig(vocabulary_size=256, width=16, num_layers=1, num_heads=2)
    return save_untrained(config, tmp_path_factory.mktemp("model") / "model.keras")


def save_untrained(config, path):
    model = Griffin(config)
    # Keras warns of an optimizer that was saved before its first step.
    model.optimizer.build(model.trainable_variables)
    model.save(path)
    return path


@pytest.fixture(scope="module")
def write(model_path):
    """Continue a prompt with one loaded model, which is compiled once."""
    model = load_byte_model(model_path)

    def continued(prompt="def ", temperature=1.0, seed=0):
        arguments = argparse.Namespace(temperature=temperature, top_p=0.9, seed=seed)
        return continue_text(model, prompt, 20, arguments)

    return continued


@pytest.mark.trainable
def test_the_model_of_a_run_continues_a_prompt(finished_run, capsys):
    folder, _, _ = finished_run
    assert main(["generate", "--model", str(folder / "model.keras"), "--prompt", "return ", "--bytes", "5"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("return ") and not printed.err


def test_the_seed_decides_what_is_written(write):
    assert write(seed=1) == write(seed=1) != write(seed=2)


def test_at_temperature_zero_the_seed_does_not_matter(write):
    assert write(temperature=0.0, seed=1) == write(temperature=0.0, seed=2)


@pytest.mark.parametrize("prompt", ["", "\N{SNOWMAN} ", "\udcff"])
def test_any_prompt_is_taken(write, prompt):
    assert write(prompt).startswith(prompt.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))


def refused(path, capsys):
    assert main(["generate", "--model", str(path)]) == 2
    printed = capsys.readouterr()
    assert not printed.out and printed.err.count("\n") == 1
    return printed.err


def test_a_file_that_is_not_there_is_refused(tmp_path, capsys):
    path = tmp_path / "model.keras"
    assert refused(path, capsys) == f"generate: --model must be a file that exists. Got '{path}'.\n"


def write_text(path):
    path.write_text("no archive")


def write_other_archive(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello.txt", "hello")


def write_broken_config(path):
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("config.json", "metadata.json", "model.weights.h5"):
            archive.writestr(name, "{")


def write_a_list_as_config(path):
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("config.json", "metadata.json", "model.weights.h5"):
            archive.writestr(name, "[]")


@pytest.mark.parametrize("write_file", [write_text, write_other_archive, write_broken_config, write_a_list_as_config])
def test_a_file_that_keras_did_not_write_is_refused(write_file, tmp_path, capsys):
    path = tmp_path / "model.keras"
    write_file(path)
    assert refused(path, capsys) == f"generate: --model must be a whole .keras file. Got '{path}', which is not.\n"


def test_a_model_that_is_not_ours_is_refused_and_not_loaded(tmp_path, capsys):
    path = tmp_path / "model.keras"
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]).save(path)
    assert refused(path, capsys) == (
        f"generate: --model must hold a language model of keras_griffin. Got '{path}' with a 'Sequential'.\n"
    )


def test_a_language_model_over_other_ids_is_refused(tmp_path, capsys):
    config = GriffinConfig(vocabulary_size=100, width=16, num_layers=1, num_heads=2)
    path = save_untrained(config, tmp_path / "model.keras")
    assert refused(path, capsys) == (
        f"generate: --model must hold a language model over the 256 bytes. Got '{path}' over 100 ids.\n"
    )


def test_a_damaged_file_is_refused(model_path, tmp_path, capsys):
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(model_path) as whole, zipfile.ZipFile(path, "w") as damaged:
        for name in whole.namelist():
            data = whole.read(name)
            damaged.writestr(name, data[: len(data) // 2] if name.endswith(".h5") else data)
    assert refused(path, capsys).startswith(
        f"generate: --model must be a whole .keras file of this version. Got '{path}': "
    )


def test_an_implementation_that_is_not_there_is_told(model_path, monkeypatch, capsys):
    monkeypatch.setenv("KERAS_GRIFFIN_LINEAR_SCAN", "magic")
    assert "linear_scan: an implementation must be one of" in refused(model_path, capsys)


def test_a_terminal_is_spared_control_characters():
    assert printable("a\tb\n\x1b[31mc\x08") == "a\tb\n\ufffd[31mc\ufffd"
