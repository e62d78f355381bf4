"""Processes side by side write one folder, or nothing; test_tokenize.py has what they write."""

import multiprocessing
import os
import signal

import pytest

from keras_griffin.__main__ import main
from keras_griffin.commands.shared import token_shards
from keras_griffin.commands.tokenize import Progress
from keras_griffin.training import Terminated, write_token_file
from tests.commands.test_tokenize import refusal

pytestmark = pytest.mark.any_backend


def test_shards_without_a_document_are_refused(tmp_path, monkeypatch, capsys):
    def without_processes(tasks, add, noted):
        for _, path, *_ in tasks:
            write_token_file(path, [], 256)

    monkeypatch.setattr(token_shards, "_run_all", without_processes)
    (tmp_path / "text").write_text("\n\n\n")
    error = refusal([tmp_path / "text", "--lines", "--shards", "3", "--output", tmp_path / "some"], capsys)
    assert error == "keras_griffin tokenize: FILES must contain text. Got only empty files.\n"
    assert os.listdir(tmp_path) == ["text"]


@pytest.mark.parametrize("fault", ["text", "killed", "SIGTERM"])
def test_a_fault_of_one_process_ends_all_and_leaves_nothing(fault, gemma_model, tmp_path, monkeypatch, capsys):
    gemma_model.tokenizer.save(tmp_path / "tokenizer")
    lines = b"the cat\n" * 100_000
    (tmp_path / "text").write_bytes(lines + (b"a \xff\n" if fault == "text" else b"") + lines)
    before = sorted(os.listdir(tmp_path))
    argv = [tmp_path / "text", "--lines", "--tokenizer", tmp_path / "tokenizer", "--output", tmp_path / "some"]
    argv += ["--shards", "2"]

    def add(self, num_bytes, of_text):
        assert list(tmp_path.glob(".some.partial-*/some"))
        if fault == "killed":
            multiprocessing.active_children()[0].kill()
        elif fault == "SIGTERM":
            signal.raise_signal(signal.SIGTERM)
        fault_is_done.append(True)

    fault_is_done: list[bool] = []
    monkeypatch.setattr(Progress, "add", add)
    if fault == "SIGTERM":
        with pytest.raises(Terminated):
            main(["tokenize", *map(str, argv)])
        assert capsys.readouterr().err == "\nStopping; a second signal stops at once.\n"
    else:
        sentence = {
            "text": f"a text must be UTF-8 unless the tokens are bytes. Got {tmp_path / 'text'}, line 100001, with an "
            "invalid byte at 2.",
            "killed": "each process must finish its file; fewer --shards need less memory. Got exit code -9.",
        }
        assert refusal(argv, capsys) == f"keras_griffin tokenize: {sentence[fault]}\n"
    assert fault_is_done and sorted(os.listdir(tmp_path)) == before and not multiprocessing.active_children()
