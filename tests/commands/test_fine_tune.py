import csv
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest

from keras_griffin.__main__ import main
from keras_griffin.commands import fine_tune
from keras_griffin.files.safetensors import SafeTensors
from keras_griffin.models import Griffin
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from keras_griffin.tokenizers import ByteTokenizer
from tests.commands.conftest import TINY

TOKENS = np.array([list(b"2+2?\n4\n")])


@pytest.fixture
def model(tmp_path):
    """The folder of a tiny model of bytes."""
    Griffin(TINY, tokenizer=ByteTokenizer()).save_to_preset(tmp_path / "model")
    return str(tmp_path / "model")


@pytest.fixture
def chats(tmp_path):
    """A file of six short conversations."""
    talks = [[f"{n}+{n}?", f"{2 * n}"] for n in range(6)]
    lines = [
        json.dumps({"messages": [{"role": r, "content": c} for r, c in zip(("user", "assistant"), talk, strict=True)]})
        for talk in talks
    ]
    (tmp_path / "chats.jsonl").write_text("\n".join(lines))
    return str(tmp_path / "chats.jsonl")


def refusal(argv, capsys):
    capsys.readouterr()
    assert main(["fine-tune", *map(str, argv)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


@pytest.mark.any_backend
@pytest.mark.trainable
@pytest.mark.slow
def test_a_model_learns_answers_and_speaks_with_the_adapter(model, chats, tmp_path, capsys, monkeypatch):
    output = tmp_path / "tuned"
    options = "--rank 4 --alpha 8 --targets up,down --epochs 3 --batch-size 1 --sequence-length 32 --learning-rate 0.01"
    options += f" --accumulation 2 --merge --rematerialize --validation {chats}"
    assert main(["fine-tune", model, chats, "--output", str(output), *options.split()]) == 0
    printed = capsys.readouterr().out
    assert "of rank 4 in 4 projections" in printed and "2 batches per update" in printed and "in answers" in printed
    assert sorted(os.listdir(output)) == ["adapter.safetensors", "log.csv", "merged"]
    with (output / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 and float(rows[-1]["val_bits"]) < float(rows[0]["val_bits"])
    metadata = SafeTensors(output / "adapter.safetensors").metadata
    assert (metadata["rank"], metadata["alpha"], metadata["targets"]) == ("4", "8.0", '["up", "down"]')
    base, merged = Griffin.from_preset(model), Griffin.from_preset(output / "merged")
    before = as_array(base(TOKENS))
    base.load_adapter(output / "adapter.safetensors")
    assert_close(merged(TOKENS), as_array(base(TOKENS)))
    assert np.abs(as_array(merged(TOKENS)) - before).max() > 0.01
    adapter = ["--adapter", str(output / "adapter.safetensors")]
    assert main(["generate", "--model", model, *adapter, "--prompt", "2+2?", "--tokens", "3"]) == 0
    monkeypatch.setattr("sys.stdin", io.StringIO("2+2?\n"))
    assert main(["chat", "--model", model, *adapter, "--tokens", "3", "--seed", "0"]) == 0
    # The merged model is another base.
    capsys.readouterr()
    assert main(["generate", "--model", str(output / "merged"), *adapter]) == 2
    assert capsys.readouterr().err.startswith(
        "keras_griffin generate: the base must be the one with which the adapters were tr"
    )
    assert main(["generate", "--model", model, "--adapter", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.startswith("keras_griffin generate: --adapter must be a file that can be read. Got ")
    error = refusal([model, chats, "--output", output], capsys)
    assert error.startswith(
        "keras_griffin fine-tune: --output must not contain an earlier result; --overwrite replaces it. Got "
    )
    # A merged model of the earlier adapter would be another one.
    again = ["fine-tune", model, chats, "--output", str(output), "--overwrite"]
    assert main([*again, "--rank", "4", "--sequence-length", "32"]) == 0
    assert sorted(os.listdir(output)) == ["adapter.safetensors", "log.csv"]
    assert error.endswith("with adapter.safetensors, merged.\n")


@pytest.mark.any_backend
@pytest.mark.trainable
def test_what_is_refused(model, chats, tmp_path, capsys):
    output = tmp_path / "tuned"
    (tmp_path / "bad.jsonl").write_text('{"messages": [{"role": "user", "content": "a"}]}\n')
    (tmp_path / "long.jsonl").write_text(Path(chats).read_text().replace("0+0?", "x" * 40).splitlines()[0])
    tiny = "--rank 4 --sequence-length 16 --batch-size 1".split()
    for argv, sentence in (
        (["none", chats], "MODEL must be a .keras file, a folder, hf://OWNER/NAME or python_tiny. Got "),
        ([model, "none"], "CHATS must be a file that can be read. Got 'none': No such file or directory."),
        ([model, tmp_path], "CHATS must be a file that can be read. Got "),
        ([model, tmp_path / "bad.jsonl"], "each line must be a conversation to train on. Got line 1 of "),
        (
            [model, tmp_path / "long.jsonl", *tiny],
            "at least one answer must begin within --sequence-length. Got 16 and",
        ),
        ([model, chats, "--validation", "none"], "--validation must be a file that can be read. Got 'none'"),
        ([model, chats, "--targets", "up,wq"], "targets must be names of projections, such as "),
    ):
        assert refusal([*argv, "--output", output], capsys).startswith(f"keras_griffin fine-tune: {sentence}")
    for name in ("", chats):
        error = refusal([model, chats, "--output", name], capsys)
        sentence = f"--output must be a folder, or a path that does not exist. Got {name!r}."
        assert error == f"keras_griffin fine-tune: {sentence}\n"
    assert not output.exists()


@pytest.mark.any_backend
@pytest.mark.trainable
def test_merging_few_bits_and_a_loss_that_is_not_finite(model, chats, tmp_path, capsys, monkeypatch):
    def load(*_, **__):
        loaded = Griffin.from_preset(model)
        loaded.quantized_to = "int8"
        return loaded

    monkeypatch.setattr("keras_griffin.commands.shared.load.load_text_model", load)
    error = refusal([model, chats, "--output", tmp_path / "a", "--merge"], capsys)
    sentence = f"--merge needs a MODEL that is not quantised. Got {model!r}, quantised to int8."
    assert error == f"keras_griffin fine-tune: {sentence}\n"
    monkeypatch.undo()
    monkeypatch.setattr(fine_tune, "fit", lambda *_: (False, float("nan")))
    error = refusal([model, chats, "--output", tmp_path / "b", "--rank", "4"], capsys)
    sentence = "the loss must stay finite. Got NaN or infinity with the learning rate 0.0002."
    assert error == f"keras_griffin fine-tune: {sentence}\n"
    assert not os.listdir(tmp_path / "b")
