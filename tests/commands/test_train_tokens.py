"""Runs of `train` over tokens that are not bytes."""

import json

import keras
import pytest

from keras_griffin.__main__ import main
from keras_griffin.tokenizers import load_tokenizer
from tests.commands.runs import TINY, press_ctrl_c

pytestmark = pytest.mark.trainable


@pytest.mark.any_backend
def test_a_run_over_tokens_goes_on_with_them_and_writes(monkeypatch, text_file, tmp_path, capsys):
    press_ctrl_c(monkeypatch, after_batches=1)
    run = [
        "train",
        str(text_file),
        *TINY,
        "--sample-bytes",
        "1",
        "--output",
        str(tmp_path),
        "--steps",
        "2",
        "--vocabulary",
        "280",
    ]
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
