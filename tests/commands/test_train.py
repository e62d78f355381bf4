import csv
import json
import re
import shutil
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from keras_griffin.__main__ import main
from keras_griffin.commands.shared import training as train_time
from keras_griffin.commands.shared.runs import describe_resume
from keras_griffin.models import LanguageModel
from keras_griffin.training import HeldOutWindows
from tests.commands.runs import TINY, press_ctrl_c

pytestmark = pytest.mark.trainable


def test_a_run_says_what_it_does_and_writes(finished_run):
    folder, printed, code = finished_run
    assert code == 0
    before = ["backend", "kernels", "text", "to train on", "held out", "to beat", "model", "batch", "val_bits"]
    after = ["left", "validating", "validation", "to beat", "speed", "time", "saved", "next"]
    labels = [line[:12].strip() for line in printed.split("\n\n", 1)[0].splitlines() if line[12:13] == " "]
    assert [label for label in labels if label in (*before, *after)] == [*before, *after]
    assert f"{keras.backend.backend()} on " in printed
    assert "rg_lru by " in printed and "local_attention by " in printed and "linear_scan" not in printed
    assert "bytes of 1 file" in printed
    # Of the held-out tenth, a line in its middle.
    prompt = (folder / "prompt.txt").read_text()
    assert prompt == "def"
    assert printed.split("\n\n", 1)[1].startswith(prompt)
    lines = [line for line in printed.splitlines() if line.startswith("left ")]
    assert re.match(f"left         about \\d+ s, writing '{re.escape(prompt)}", lines[0])
    assert all(len(line) <= 80 for line in lines)
    assert f" -m keras_griffin generate --model {folder}\n" in printed


def test_a_run_leaves_the_model_the_log_and_the_result(finished_run):
    folder, _, _ = finished_run
    assert {path.name for path in folder.iterdir()} - {"loss.png"} == {
        "model.keras",
        "log.csv",
        "prompt.txt",
        "result.json",
    }
    log = (folder / "log.csv").read_text().splitlines()
    assert len(log) == 4 and "val_bits" in log[0].split(",")
    result = json.loads((folder / "result.json").read_text())
    assert result["bytes_per_second"] == result["tokens_per_second"] > 0
    assert result["versions"]["keras"] == keras.__version__ and keras.backend.backend() in result["versions"]
    assert result["arguments"]["steps"] == 3


def test_a_run_draws_its_curve(finished_run):
    pytest.importorskip("matplotlib")
    folder, printed, _ = finished_run
    assert (folder / "loss.png").is_file()
    assert "loss.png" in printed


def test_the_result_is_that_of_the_saved_model_on_all_held_out_bytes(finished_run, text_file):
    folder, printed, _ = finished_run
    model = keras.saving.load_model(folder / "model.keras")
    assert isinstance(model, LanguageModel)
    text = np.frombuffer(text_file.read_bytes(), "uint8")
    held_out = HeldOutWindows(text[-(len(text) // 10) :], sequence_length=16, batch_size=4)
    bits = model.evaluate(held_out, verbose=0, return_dict=True)["bits"]
    result = json.loads((folder / "result.json").read_text())
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
@pytest.mark.slow
def test_the_saved_model_loads_where_only_the_package_is_imported(finished_run):
    folder, _, _ = finished_run
    program = f"import keras_griffin, keras; print(keras.saving.load_model({str(folder / 'model.keras')!r}).name)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    # Keras numbers the names of a process's models.
    assert run.stdout.startswith("griffin")


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
        patch.setattr(train_time, "EPOCHS", 3)
        assert main(["train", str(text_file), *TINY, "--output", str(folder), "--steps", "6"]) == 0
    return folder


@pytest.mark.any_backend
def test_a_run_that_was_stopped_and_terminated_goes_on_to_the_same_end(
    monkeypatch, train_tiny, tmp_path, text_file, undisturbed, capsys
):
    monkeypatch.setattr(train_time, "EPOCHS", 3)
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
    monkeypatch.setattr(train_time, "EPOCHS", 10)
    monkeypatch.setattr("keras_griffin.commands.shared.training.make_plan", None)
    assert main(["train", "--resume", str(tmp_path)]) == 143
    assert capsys.readouterr().err.endswith(f"Terminated. {describe_resume(tmp_path)}\n")
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
    (tmp_path / "text" / "deep").mkdir(parents=True)
    (tmp_path / "text" / "log.csv").write_bytes(text_file.read_bytes())
    (tmp_path / "link").symlink_to(tmp_path / "text" / "deep")
    monkeypatch.chdir(tmp_path / "text")
    for words, received in [
        (["text", "--output", "text/deep/run"], "'text/deep/run', within 'text'"),
        (["text", "--output", "text"], "'text', within 'text'"),
        (["text", "--output", "link/run"], "'link/run', within 'text'"),
        (["link/..", "--output", "text/run"], "'text/run', within 'link/..'"),
    ]:
        monkeypatch.chdir(tmp_path)
        assert main(["train", *words, *TINY, "--steps", "1"]) == 2
        sentence = "keras_griffin train: --output must be a folder outside the text. Got "
        assert capsys.readouterr().err == f"{sentence}{received}.\n"
    monkeypatch.chdir(tmp_path / "text")
    assert main(["train", ".", *TINY, "--steps", "1"]) == 2
    assert capsys.readouterr().err.endswith(", the default, within '.'.\n")
    assert main(["train", "log.csv", "--output", ".", *TINY, "--steps", "1"]) == 2
    assert capsys.readouterr().err == (
        "keras_griffin train: --output must be a folder whose files are not part of the text. Got '.' with log.csv.\n"
    )
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["deep", "link", "log.csv", "text"]


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
    monkeypatch.setattr(
        "keras_griffin.commands.shared.training.fit", lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    assert (
        main(["train", str(folder), *TINY, "--model", "hawk", "--output", str(tmp_path / "out"), "--steps", "1"]) == 130
    )
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
