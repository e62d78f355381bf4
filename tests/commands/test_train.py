import csv
import importlib.util
import json
import os
import re
import shutil
import signal
import time

import keras
import numpy as np
import pytest

from keras_griffin.__main__ import main
from keras_griffin.commands.shared import training
from keras_griffin.commands.shared.runs import describe_resume
from keras_griffin.models import LanguageModel
from keras_griffin.tokenizers import load_tokenizer
from keras_griffin.training import HeldOutWindows, Stopwatch

pytestmark = pytest.mark.trainable

#: A model small enough to compile fast.
TINY = "--width 16 --layers 1 --heads 2 --window 8 --sequence-length 16 --batch-size 4 --sample-bytes 0".split()


def press_ctrl_c(monkeypatch, *, after_batches, times=1, number=signal.SIGINT):
    """Press Ctrl-C, or send another signal, when so many batches of training have ended."""

    class Interrupting(Stopwatch):
        batches = 0

        def on_train_batch_end(self, batch, logs=None):
            super().on_train_batch_end(batch, logs)
            self.batches += 1
            if self.batches == after_batches:
                for _ in range(times):
                    os.kill(os.getpid(), number)

    monkeypatch.setattr("keras_griffin.training.Stopwatch", Interrupting)


def test_a_run_says_what_it_does_and_writes(finished_run):
    folder, printed, code = finished_run
    assert code == 0
    before = ["backend", "kernels", "text", "to train on", "held out", "to beat", "model", "batch", "val_bits"]
    after = ["left", "validating", "validation", "to beat", "speed", "time", "saved", "next"]
    labels = [line[:12].strip() for line in printed.split("\n\n", 1)[0].splitlines() if line[12:13] == " "]
    assert [label for label in labels if label in (*before, *after)] == [*before, *after]
    assert f"{keras.backend.backend()} on " in printed and "bytes of 1 file" in printed
    assert "rg_lru by " in printed and "local_attention by " in printed and "linear_scan" not in printed
    # Of the held-out tenth, a line in its middle.
    prompt = (folder / "prompt.txt").read_text()
    assert prompt == "def" and printed.split("\n\n", 1)[1].startswith(prompt)
    lines = [line for line in printed.splitlines() if line.startswith("left ")]
    assert re.match(f"left         about \\d+ s, writing '{re.escape(prompt)}", lines[0])
    assert all(len(line) <= 80 for line in lines)
    assert f" -m keras_griffin generate --model {folder}\n" in printed


def test_a_run_leaves_the_model_the_log_and_the_result(finished_run, text_file):
    """The result is that of the saved model on all held-out bytes."""
    folder, printed, _ = finished_run
    names = {path.name for path in folder.iterdir()}
    assert names - {"loss.png"} == {"model.keras", "log.csv", "prompt.txt", "result.json"}
    has_curve = importlib.util.find_spec("matplotlib") is not None
    assert ("loss.png" in names) == ("result.json and loss.png" in printed) == has_curve
    log = (folder / "log.csv").read_text().splitlines()
    assert len(log) == 4 and "val_bits" in log[0].split(",")
    result = json.loads((folder / "result.json").read_text())
    assert result["bytes_per_second"] == result["tokens_per_second"] > 0
    assert result["versions"]["keras"] == keras.__version__ and result["arguments"]["steps"] == 3
    model = keras.saving.load_model(folder / "model.keras")
    assert isinstance(model, LanguageModel)
    text = np.frombuffer(text_file.read_bytes(), "uint8")
    held_out = HeldOutWindows(text[-(len(text) // 10) :], sequence_length=16, batch_size=4)
    bits = model.evaluate(held_out, verbose=0, return_dict=True)["bits"]
    assert result["bits_per_byte"] == pytest.approx(bits, rel=1e-4)
    assert result["predicted_bytes"] == len(text) // 10 - 1
    assert f"validation   {bits:.3f} bits per byte\n" in printed
    assert f"on all {len(text) // 10:,} held-out bytes" in printed


@pytest.fixture
def train_tiny(text_file, tmp_path):
    """Train a model of one block with more options; the exit code."""

    def run(words):
        return main(["train", str(text_file), *TINY, "--output", str(tmp_path), *words.split()])

    return run


@pytest.mark.any_backend
def test_mixed_precision_computes_in_bfloat16(train_tiny, tmp_path, capsys):
    assert train_tiny("--mixed-precision --steps 1") == 0
    assert "computing in bfloat16" in capsys.readouterr().out
    model = keras.saving.load_model(tmp_path / "model.keras")
    assert model.blocks[0].compute_dtype == "bfloat16" and model.blocks[0].variable_dtype == "float32"


@pytest.fixture(scope="module")
def undisturbed(text_file, tmp_path_factory):
    """The folder of a run of three epochs of two batches, and its log."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "EPOCHS", 3)
        assert main(["train", str(text_file), *TINY, "--output", str(folder), "--steps", "6"]) == 0
    return folder


@pytest.mark.any_backend
def test_a_run_that_was_stopped_and_terminated_goes_on_to_the_same_end(
    monkeypatch, train_tiny, tmp_path, text_file, undisturbed, capsys
):
    monkeypatch.setattr(training, "EPOCHS", 3)
    press_ctrl_c(monkeypatch, after_batches=3)
    assert train_tiny("--steps 6") == 130
    # One epoch of two batches has ended, and half of the second, which has no row; its model is judged too.
    (row,) = csv.DictReader((tmp_path / "log.csv").read_text().splitlines())
    said = re.search(
        r"Stopped\. The best model so far, ([\d.]+) bits per byte, is in (.+)\n(.+)\n$", capsys.readouterr().err
    )
    assert float(said[1]) <= float(row["val_bits"]) + 1e-3
    assert said.groups()[1:] == (str(tmp_path / "model.keras"), describe_resume(tmp_path))
    press_ctrl_c(monkeypatch, after_batches=2, number=signal.SIGTERM)
    # Now three steps are saved, and how many there will be; what the command's own numbers are no longer counts.
    monkeypatch.setattr(training, "EPOCHS", 10)
    monkeypatch.setattr(training, "make_plan", None)
    assert main(["train", "--resume", str(tmp_path)]) == 143
    assert capsys.readouterr().err.endswith(f"Terminated.\n{describe_resume(tmp_path)}\n")
    press_ctrl_c(monkeypatch, after_batches=-1)
    assert main(["train", str(text_file), "--resume", str(tmp_path), "--steps", "6"]) == 0
    printed = capsys.readouterr().out
    assert "resuming     after 5 of 6 steps\n" in printed
    assert (tmp_path / "log.csv").read_text() == (undisturbed / "log.csv").read_text()
    results = [json.loads((folder / "result.json").read_text()) for folder in (tmp_path, undisturbed)]
    assert results[0]["bits_per_byte"] == results[1]["bits_per_byte"]
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in undisturbed.iterdir()}
    assert main(["train", "--resume", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        f"keras_griffin train: --resume must name the folder of an interrupted run. "
        f"Got {str(tmp_path)!r}, which is finished.\n"
    )


@pytest.mark.any_backend
def test_a_run_goes_on_only_with_its_own_options(monkeypatch, train_tiny, tmp_path, text_file, capsys):
    press_ctrl_c(monkeypatch, after_batches=1)
    assert train_tiny("--steps 20") == 130
    capsys.readouterr()
    for words, named in [
        (["--width", "192", "--layers", "1"], "--width 192 instead of 16."),
        (["--mixed-precision", "--seed", "1"], "--seed 1 instead of 0, --mixed-precision True instead of False."),
        ([str(tmp_path)], f"FILES {tmp_path} instead of {text_file}."),
        (["--output", "elsewhere"], f"--output elsewhere with --resume {tmp_path}."),
    ]:
        assert main(["train", *words, "--resume", str(tmp_path)]) == 2
        sentence = f"keras_griffin train: --resume must keep the options that the run began with. Got {named}\n"
        assert capsys.readouterr().err == sentence
    assert train_tiny("--steps 20") == 2
    printed = capsys.readouterr().err
    assert printed.startswith(
        "keras_griffin train: --output must be a folder without an interrupted run; --resume continues it, "
    )
    assert printed.count("\n") == 1


@pytest.mark.any_backend
def test_a_finished_run_is_replaced_only_if_that_is_asked_for(undisturbed, tmp_path, text_file, monkeypatch, capsys):
    folder = tmp_path / "run"
    shutil.copytree(undisturbed, folder)
    (folder / "tokenizer").mkdir()
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    again = ["train", str(text_file), *TINY, "--output", str(folder), "--steps", "1"]
    with monkeypatch.context() as patch:
        # Before the text is read.
        patch.setattr("keras_griffin.commands.shared.text.read_text", None)
        assert main(again) == 2
        bits = json.loads(before["result.json"])["bits_per_byte"]
        day = time.strftime("%Y-%m-%d", time.localtime((folder / "result.json").stat().st_mtime))
        assert capsys.readouterr().err == (
            "keras_griffin train: --output must be a folder without an earlier run; --overwrite replaces it. "
            f"Got {str(folder)!r}, with a model of {bits:.3f} bits per byte after 6 steps of {day}.\n"
        )
        (folder / "result.json").write_text("{}")
        assert main(again) == 2
        assert f"with a model whose quality is unknown, of {day}." in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == {
        **before,
        "result.json": b"{}",
    }
    # An interrupted one leaves nothing of the earlier run that could pass for its own.
    press_ctrl_c(monkeypatch, after_batches=1, times=2)
    assert main([*again, "--overwrite"]) == 130
    assert {path.name for path in folder.iterdir()} == {"model.keras", "log.csv", "prompt.txt", "checkpoints"}
    assert "from an earlier run" in capsys.readouterr().err
    press_ctrl_c(monkeypatch, after_batches=-1)
    assert main([*again, "--overwrite"]) == 0
    assert json.loads((folder / "result.json").read_text())["steps"] == 1


@pytest.mark.any_backend
def test_a_run_neither_reads_itself_nor_writes_over_its_text(text_file, tmp_path, monkeypatch, capsys):
    (tmp_path / "log.csv").write_bytes(text_file.read_bytes())
    monkeypatch.chdir(tmp_path)
    for words, sentence in [
        ([".", "--output", "run"], "outside the text. Got 'run', within '.'."),
        (["."], ", the default, within '.'."),
        (["log.csv", "--output", "."], "whose files are not part of the text. Got '.' with log.csv."),
    ]:
        assert main(["train", *words, *TINY, "--steps", "1"]) == 2
        error = capsys.readouterr().err
        assert error.startswith("keras_griffin train: --output must be a folder ") and error.endswith(f"{sentence}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["log.csv"]


@pytest.mark.any_backend
def test_what_is_left_out_and_what_is_not_used_is_said(finished_run, text_file, tmp_path, monkeypatch, capsys):
    """A folder of text in which an earlier run lies."""
    folder = tmp_path / "text"
    folder.mkdir()
    (folder / "a.py").write_bytes(text_file.read_bytes())
    (folder / "image").write_bytes(b"\0" * 1500)
    (folder / "run").symlink_to(finished_run[0])
    (folder / "runs").mkdir()
    for name in ("log.csv", "model.keras"):
        (folder / "runs" / name).write_bytes((finished_run[0] / name).read_bytes())
    monkeypatch.setenv("KERAS_GRIFFIN_LINEAR_SCAN", "reference")
    monkeypatch.setattr(training, "fit", lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt))
    words = ["--model", "hawk", "--output", str(tmp_path / "out"), "--steps", "1"]
    assert main(["train", str(folder), *TINY, *words]) == 130
    printed = capsys.readouterr().out.splitlines()
    assert "left out     1 binary file (1.5 kB), 1 folder that holds a run, 1 link to a folder" in printed
    assert any(
        line.startswith("not used     KERAS_GRIFFIN_LINEAR_SCAN=reference: the model calls ") for line in printed
    )
    size = len(text_file.read_bytes())
    assert f"to train on  {size - size // 10:,} bytes of 1 file" in printed


@pytest.mark.any_backend
def test_a_folder_without_a_run_cannot_be_resumed(tmp_path, capsys):
    assert main(["train", "--resume", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        f"keras_griffin train: --resume must name the folder of an interrupted run. "
        f"Got {str(tmp_path)!r}, which holds none.\n"
    )


@pytest.mark.any_backend
def test_a_full_disk_is_told(train_tiny, limit_files, capsys):
    with limit_files(1000):
        assert train_tiny("--steps 6") == 2
    assert capsys.readouterr().err.endswith(
        "keras_griffin train: files must be writable, on a disk with enough space. Got [Errno 27] File too large.\n"
    )


@pytest.mark.any_backend
def test_a_loss_that_is_no_number_is_told(train_tiny, capsys):
    assert train_tiny("--steps 4 --learning-rate 1e30") == 2
    assert capsys.readouterr().err == (
        "keras_griffin train: the loss must stay finite. Got NaN with the learning rate 1e+30.\n"
    )


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["no/such/file"], "keras_griffin train: a path must exist. Got 'no/such/file'.\n"),
        (["{text}", "--sequence-length", "100000"], "must have at least 100001 bytes each. Got "),
        (["{text}", "--width", "30", "--heads", "4"], "keras_griffin train: num_heads must divide width"),
        (
            ["{text}", *TINY, "--vocabulary", "200"],
            "keras_griffin train: vocabulary_size must be an integer from 257 to 1048576.",
        ),
        (
            ["{text}", "--tokenizer", "no/where"],
            "keras_griffin train: --tokenizer must be a folder with one of byte_tokenizer.json",
        ),
        (
            ["{text}", *TINY, "--vocabulary", "300", "--prompt", "\udcff"],
            "keras_griffin train: the text must be characters only. Got the surrogate",
        ),
        ([""], "keras_griffin train: a path must have a name. Got ''."),
        (
            ["{text}", "--width", "34", "--heads", "17"],
            "keras_griffin train: rotary_fraction must be from 0 to 1 and rotate an even",
        ),
        (
            ["{text}", *TINY, "--output", "{text}"],
            "keras_griffin train: --output must be a folder that can be created and written to.",
        ),
        (["{text}", *TINY, "--output", ""], "keras_griffin train: --output must name a folder. Got ''."),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(text_file, capsys, words, sentence):
    assert main(["train", *(word.format(text=text_file) for word in words), "--steps", "1"]) == 2
    printed = capsys.readouterr().err
    assert sentence in printed and printed.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("magic", "rg_lru: an implementation must be one of"),
        ("{other}_loop", "rg_lru: the requested implementation '{other}_loop' must support the call. It needs"),
    ],
)
def test_an_implementation_that_cannot_serve_is_told(name, sentence, monkeypatch, train_tiny, tmp_path, capsys):
    other = "torch" if keras.backend.backend() != "torch" else "jax"
    monkeypatch.setenv("KERAS_GRIFFIN_RG_LRU", name.format(other=other))
    assert train_tiny("--model hawk --steps 1") == 2
    printed = capsys.readouterr().err
    assert sentence.format(other=other) in printed and printed.count("\n") == 1
    assert not any(tmp_path.iterdir())


@pytest.mark.any_backend
def test_a_run_over_tokens_goes_on_with_them_and_writes(monkeypatch, text_file, tmp_path, capsys):
    press_ctrl_c(monkeypatch, after_batches=1)
    run = ["train", str(text_file), *TINY, "--sample-bytes", "1", "--output", str(tmp_path)]
    run += ["--steps", "2", "--vocabulary", "280"]
    assert main(run) == 130
    kept = load_tokenizer(tmp_path / "tokenizer")
    assert kept.vocabulary_size == 280
    printed = capsys.readouterr().out
    assert "tokens       280, " in printed and "windows of 16 tokens" in printed
    assert main(["train", "--resume", str(tmp_path), "--vocabulary", "281"]) == 2
    assert capsys.readouterr().err.endswith("Got --vocabulary 281 instead of 280.\n")
    press_ctrl_c(monkeypatch, after_batches=-1)
    assert main(["train", "--resume", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert " tokens) per second in training" in printed
    assert printed.split("\n\n", 1)[1].startswith((tmp_path / "prompt.txt").read_text())
    model = keras.saving.load_model(tmp_path / "model.keras")
    assert model.tokenizer == kept and model.config.vocabulary_size == 280
    result = json.loads((tmp_path / "result.json").read_text())
    text = text_file.read_bytes().decode()
    ids = kept.encode(text[-(len(text) // 10) :])
    assert result["predicted_bytes"] == len(text) // 10 - len(kept.token_bytes(ids[0]))
    assert result["bytes_per_second"] > 1.2 * result["tokens_per_second"]
    assert result["bits_per_byte"] < 8 and "tokenizers" in result["versions"]
    assert main(["generate", "--model", str(tmp_path / "model.keras"), "--prompt", "def é", "--tokens", "3"]) == 0
    assert capsys.readouterr().out.startswith("def é")
    # The tokenizer of one run serves another.
    other = ["--output", str(tmp_path / "other"), "--steps", "1", "--tokenizer", str(tmp_path / "tokenizer")]
    assert main(["train", str(text_file), *TINY, *other]) == 0
    assert load_tokenizer(tmp_path / "other" / "tokenizer") == kept


def test_a_tokenizer_is_learnt_or_given(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--vocabulary", "300", "--tokenizer", "some"])
    assert "not allowed with argument" in capsys.readouterr().err
