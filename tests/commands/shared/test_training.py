import argparse
import platform
from argparse import Namespace
from importlib import metadata
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from keras_griffin.__main__ import main
from keras_griffin.backend import BACKENDS
from keras_griffin.commands.shared import training
from keras_griffin.commands.shared.options import split_given
from keras_griffin.commands.shared.runs import family
from keras_griffin.commands.shared.text import TokenText, describe_validation
from keras_griffin.commands.shared.training import (
    FAMILIES,
    build_model,
    compile_for_training,
    count_steps,
    describe_division,
    describe_result,
    describe_stop,
    epoch_windows,
    evaluate,
    make_plan,
    prepare_training,
    versions,
)
from keras_griffin.commands.train import add_arguments
from keras_griffin.models import LanguageModel
from keras_griffin.tasks.text import Corpus
from keras_griffin.tokenizers import ByteTokenizer, train_bpe
from keras_griffin.training import BestCheckpoint, token_byte_counts
from keras_griffin.training.pace import Pace

pytestmark = pytest.mark.any_backend

DATA = np.zeros(400_000, "uint8")
TEXT = TokenText(Corpus("", DATA, DATA, ("a",), ("a",)), ByteTokenizer(), DATA, DATA, np.ones(256, "int32"))


def options(*words):
    """The options of `train`, of a small model."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    everything, _ = split_given(parser.parse_args("--width 16 --layers 2 --heads 2 --window 4".split() + [*words]))
    return Namespace(**everything)


@pytest.mark.trainable
@pytest.mark.parametrize("is_command_line", [True, False])
def test_a_training_command_retains_the_memory_of_its_own_process_alone(monkeypatch, is_command_line):
    calls = []
    monkeypatch.setattr(training, "is_command_line", lambda: is_command_line)
    monkeypatch.setattr(training, "retain_memory", lambda: calls.append("called"))
    prepare_training("train")
    assert len(calls) == is_command_line


@pytest.mark.parametrize("argv", [["train"], ["compare"], ["fine-tune", "model", "chats", "--output", "out"]])
def test_a_backend_without_gradients_is_refused(monkeypatch, capsys, argv):
    monkeypatch.setattr(keras.backend, "backend", lambda: "numpy")
    assert main(argv) == 2
    assert capsys.readouterr().err == (
        f"keras_griffin {argv[0]}: KERAS_BACKEND must be one of {', '.join(BACKENDS)}. "
        "Got numpy, which computes no gradients.\n"
    )


def test_a_pattern_with_options():
    words = "--pattern lru,wide --option wide.mixer=local_mqa --option wide.window=3"
    arguments = options(*words.split(), "--option", "lru.unit_options.state_size=5")
    # As a run that resumes compares and shows them.
    assert arguments.option == ["wide.mixer=local_mqa", "wide.window=3", "lru.unit_options.state_size=5"]
    model = build_model(arguments, ByteTokenizer())
    assert type(model) is LanguageModel and family(arguments) == "lru-wide"
    assert model.blocks[0].mixer.recurrence.state_size == 5 and model.blocks[1].mixer.window == 3


def test_the_first_decays_are_those_of_the_released_code_unless_an_option_says_otherwise():
    def mixer_of(*words):
        return build_model(options("--model", "hawk", *words), ByteTokenizer()).blocks[0].mixer

    assert options().option is None and family(options("--model", "hawk")) == "hawk"
    assert mixer_of().decay_initializer == "ring"
    assert mixer_of("--option", "recurrent.decay_initializer=paper").decay_initializer == "paper"
    changed = mixer_of("--option", "recurrent.decay_range=[0.5, 0.99]")
    assert (changed.decay_initializer, changed.decay_range) == ("ring", (0.5, 0.99))


@pytest.mark.trainable
def test_bits_are_those_of_a_byte_whatever_the_tokens_are():
    tokenizer = train_bpe(["the cat sat on the mat"] * 3, 270)
    model = build_model(options("--model", "hawk", "--layers", "1"), tokenizer)
    assert isinstance(model, FAMILIES["hawk"]) and model.tokenizer is tokenizer
    data = b"the cat on the mat, the rat"
    ids, counts = np.array(tokenizer.encode(data.decode())), token_byte_counts(tokenizer)
    corpus = Corpus("", *2 * [np.frombuffer(data, "uint8")], ("a",), ("a",))
    text = TokenText(corpus, tokenizer, ids, ids, counts)
    compile_for_training(model, 0.0, text)
    logits = np.array(keras.ops.convert_to_numpy(model(ids[None, :-1])), "float64")[0]
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    bits = -np.log2(probabilities[np.arange(len(ids) - 1), ids[1:]]).sum()
    whole = text.held_out(Namespace(sequence_length=len(ids) - 1, batch_size=1))
    assert text.predicted_bytes(whole) == len(data) - counts[ids[0]]
    assert evaluate(model, whole) == pytest.approx(bits / text.predicted_bytes(whole), rel=1e-4)


def test_epochs_are_validated_on_as_many_bytes_whatever_the_tokens_are():
    assert epoch_windows(TEXT, options()) == 128
    tokens = TokenText(TEXT.corpus, TEXT.tokenizer, DATA[:100_000], DATA[:100_000], np.full(256, 4))
    assert epoch_windows(tokens, options()) == 32


def plan(epochs, num_batches, windows):
    return {"epochs": epochs, "num_batches": num_batches, "windows": windows}


@pytest.mark.parametrize(
    ("steps", "expected"),
    [("1", plan(1, 1, 8)), ("7", plan(7, 1, 8)), ("203", plan(10, 20, 32)), ("10000", plan(10, 1000, 128))],
)
def test_of_steps_a_tenth_of_the_time_is_validation(steps, expected):
    """A batch of it counts as half a step."""
    assert make_plan(None, TEXT, options("--steps", steps)) == expected


@pytest.mark.parametrize(
    ("batch_of_validation", "batches", "steps"),
    # All would take 320 of 600 seconds at 2 seconds each, and one is more than there is time for at 20.
    [(0.1, 16, 584), (2.0, 3, 540), (20.0, 1, 400)],
)
def test_of_minutes_a_tenth_is_validation(monkeypatch, capsys, batch_of_validation, batches, steps):
    def measure(model, timed, held_out):
        return Pace(start=0.0, step=1.0, validation=batch_of_validation * held_out.num_batches)

    monkeypatch.setattr(training, "measure_pace", measure)
    monkeypatch.setattr(training, "compile_for_training", lambda *arguments: None)
    monkeypatch.setattr(training, "time", SimpleNamespace(perf_counter=lambda: 0.0))
    arguments = options("--minutes", "10")
    assert count_steps(None, TEXT, arguments, 16) == (steps, batches)
    assert make_plan(None, TEXT, arguments) == plan(10, steps // 10, 8 * batches)
    printed = capsys.readouterr().out
    assert f"pace         1000 ms per step: enough time for {steps:,} steps\n" in printed
    validating = round(10 * batches * batch_of_validation)
    assert f"of that time 0 s compiling, {steps} s training, {validating} s validating\n" in printed
    assert "short" not in printed


def test_a_time_that_is_mostly_not_training_is_told():
    assert "short" not in describe_division(10.0, 15.0, 5.0)
    assert describe_division(50.0, 9.0, 1.0) == {
        "of that time": "50 s compiling, 9 s training, 1 s validating",
        "short": "less than half is training: give more --minutes, or a smaller --width or --layers",
    }


def test_the_result_stands_beside_the_compressors(tmp_path):
    result = {"bits_per_byte": 1.5, "zlib": 1.86, "lzma": 1.46, "bytes_per_second": 12345.6, "seconds": 185.2}
    rows = describe_result({**result, "tokens_per_second": 12345.6}, tmp_path, is_drawn=True)
    assert rows["next"].endswith(f"-m keras_griffin generate --model {tmp_path}")
    assert {name: text for name, text in rows.items() if name != "next"} == {
        "validation": "1.500 bits per byte",
        "to beat": "zlib needs 1.860 and lzma 1.460 bits per byte",
        "speed": "12,346 bytes per second in training",
        "time": "3 min 5 s in total",
        "saved": f"{tmp_path / 'model.keras'}, with log.csv, result.json and loss.png",
    }
    rows = describe_result({**result, "tokens_per_second": 3456.7}, tmp_path, is_drawn=False)
    assert rows["speed"] == "12,346 bytes (3,457 tokens) per second in training"
    assert rows["saved"].endswith("no loss.png, which needs matplotlib: pip install 'keras-griffin[viz]'")


def test_it_says_on_how_much_a_model_is_judged():
    tokens = np.zeros(500, "uint16")
    corpus = Corpus("a text", DATA[:90], DATA[:1000], ("a", "b"), ("c",))
    text = TokenText(corpus, ByteTokenizer(), tokens, tokens, np.full(256, 2))
    arguments = Namespace(sequence_length=4, batch_size=2)
    assert describe_validation(text, text.held_out(arguments)) == "all 1,000 held-out bytes"
    some = text.held_out(arguments, 3)
    sentence = f"{2 * some.num_predictions} of the 1,000 held-out bytes, evenly spread"
    assert describe_validation(text, some) == sentence


def test_what_ctrl_c_leaves_is_told(tmp_path):
    checkpoint = BestCheckpoint(tmp_path / "model.keras")
    assert describe_stop(checkpoint) == "Stopped before the first model was saved."
    checkpoint.path.write_text("")
    assert describe_stop(checkpoint).endswith(f"was saved. {checkpoint.path} is from an earlier run.")
    checkpoint.best = 2.5
    assert describe_stop(checkpoint) == (
        f"Stopped. The best model so far, 2.500 bits per byte, is in {tmp_path / 'model.keras'}"
    )


def test_what_a_result_was_made_with_is_named():
    found = versions(ByteTokenizer())
    assert list(found) == [*dict.fromkeys(["python", "keras", "keras_griffin", "numpy", keras.backend.backend()])]
    assert (found["python"], found["keras"]) == (platform.python_version(), keras.__version__)
    assert versions(train_bpe(["a"], 257))["tokenizers"] == metadata.version("tokenizers")
