import io
import os
import re
import signal
import sys

import pytest

from keras_griffin.__main__ import main
from keras_griffin.commands import tokenize
from keras_griffin.commands.tokenize import Progress
from keras_griffin.training import Terminated, TokenFile

pytestmark = pytest.mark.any_backend


@pytest.fixture
def folder(tmp_path):
    """A folder of three files with text and one without."""
    (tmp_path / "texts" / "more").mkdir(parents=True)
    (tmp_path / "texts" / ".hidden").mkdir()
    for name, text in {
        "a.txt": "né\r\n\nzwei\n".encode(),
        "b.txt": b"",
        "more/c.txt": b"last \xff",
        ".hidden/d": b"x",
        ".e": b"x",
    }.items():
        (tmp_path / "texts" / name).write_bytes(text)
    return tmp_path / "texts"


def texts(path):
    return [bytes(document.astype("uint8")) for document in TokenFile(path)]


def refusal(argv, capsys):
    assert main(["tokenize", *map(str, argv)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_each_file_is_a_document(folder, tmp_path, capsys):
    output = tmp_path / "some.tokens"
    assert main(["tokenize", str(folder), "--output", str(output)]) == 0
    assert texts(output) == ["né\r\n\nzwei\n".encode(), b"last \xff"]
    printed = capsys.readouterr()
    read, *rest = printed.out.splitlines()
    assert re.fullmatch(r"read         17 bytes of 3 files, [\d.,]+ MB/s", read)
    assert rest == [
        "left out     2 hidden",
        "documents    2",
        "tokens       17 of a vocabulary of 256, 1.00 bytes each",
        f"written      {output}, {output.stat().st_size} bytes, in uint16",
    ]
    assert printed.err == ""
    file = TokenFile(output)
    file.verify()
    assert file.fingerprint is not None


def test_each_line_is_a_document(folder, tmp_path, capsys):
    output = tmp_path / "some.tokens"
    paths = [str(folder / "more" / "c.txt"), str(folder / "a.txt")]
    assert main(["tokenize", *paths, "--lines", "--output", str(output)]) == 0
    assert texts(output) == [b"last \xff", "né".encode(), b"zwei"]
    assert "tokens       13 of a vocabulary of 256, 1.00 bytes each" in capsys.readouterr().out


def test_with_a_tokenizer(gemma_model, tmp_path, capsys):
    tokenizer = gemma_model.tokenizer
    tokenizer.save(tmp_path / "tokenizer")
    (tmp_path / "text.txt").write_text("hello world\nthe cat\n")
    argv = ["tokenize", str(tmp_path / "text.txt"), "--lines", "--output", str(tmp_path / "some.tokens")]
    for path in (tmp_path / "tokenizer", tmp_path / "tokenizer" / "tokenizer.model"):
        assert main([*argv, "--overwrite", "--tokenizer", str(path)]) == 0
        file = TokenFile(tmp_path / "some.tokens")
        assert [document.tolist() for document in file] == [
            tokenizer.encode(text) for text in ("hello world", "the cat")
        ]
        file.check_model(gemma_model)
    assert main([*argv, "--overwrite", "--tokenizer", str(path), "--stop"]) == 0
    stop_id = tokenizer.stop_ids[0]
    assert [document[-1] for document in TokenFile(tmp_path / "some.tokens")] == [stop_id, stop_id]


def test_a_text_that_is_not_utf_8(gemma_model, folder, tmp_path, capsys):
    gemma_model.tokenizer.save(tmp_path / "tokenizer")
    options = ["--tokenizer", tmp_path / "tokenizer", "--output", tmp_path / "some.tokens"]
    name = str(folder / "more" / "c.txt")
    sentence = (
        "keras_griffin tokenize: a text must be UTF-8 unless the tokens are bytes. Got {}, with an invalid byte at 5.\n"
    )
    assert refusal([folder, *options], capsys) == sentence.format(name)
    assert refusal([folder, *options, "--lines"], capsys) == sentence.format(f"{name}, line 1")
    assert not (tmp_path / "some.tokens").exists()


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["no/where", "--output", "x"], "FILES must be files and folders that exist. Got 'no/where'."),
        (["", "--output", "x"], "FILES must be files and folders that exist. Got ''."),
        (["empty", "--output", "x"], "FILES must contain a text file. Got none in empty."),
        (["texts/b.txt", "--output", "x"], "FILES must contain text. Got only empty files."),
        (["texts", "--output", "texts/a.txt"], "--output must not be one of FILES. Got 'texts/a.txt', which is."),
        (
            ["texts", "--output", "kept"],
            "--output must be a new file; --overwrite replaces it. Got 'kept', which exists.",
        ),
        (
            ["texts", "--output", "x", "--tokenizer", "empty"],
            "--tokenizer must be a folder with one of byte_tokenizer.json, tokenizer.json, tokenizer.model. "
            "Got 'empty'.",
        ),
        (
            ["texts", "--output", "x", "--stop"],
            "--stop needs a tokenizer that has a stop id. Got ByteTokenizer(), which has none.",
        ),
    ],
)
def test_what_can_not_be_done(folder, tmp_path, monkeypatch, capsys, argv, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "kept").write_text("mine")
    before = sorted(os.listdir(tmp_path))
    assert refusal(argv, capsys) == f"keras_griffin tokenize: {sentence}\n"
    assert sorted(os.listdir(tmp_path)) == before


def test_a_file_that_can_not_be_read(folder, tmp_path, monkeypatch, capsys):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    error = refusal([folder, "--output", tmp_path / "x"], capsys)
    sentence = f"a file must be readable. Got {str(folder / 'a.txt')!r}: Permission denied."
    assert error == f"keras_griffin tokenize: {sentence}\n"


def test_binary_files_and_runs_are_left_out_unless_asked_for(folder, tmp_path, capsys):
    (folder / "run" / "checkpoints").mkdir(parents=True)
    (folder / "run" / "log.csv").write_bytes(b"epoch\n")
    (folder / "model").write_bytes(b"\0model")
    os.mkfifo(folder / "pipe")
    output = folder / "some.tokens"
    for _ in range(2):  # The second time, what the first has written is a binary file.
        assert main(["tokenize", str(folder), "--output", str(output), "--overwrite"]) == 0
        assert texts(output) == ["né\r\n\nzwei\n".encode(), b"last \xff"]
    size = output.stat().st_size + 6
    assert capsys.readouterr().out.splitlines()[-4] == (
        f"left out     2 binary files ({size} bytes), 1 folder that holds a run, 2 hidden, 1 neither file nor folder"
    )
    output.unlink()
    assert main(["tokenize", str(folder), "--include-binary", "--output", str(output)]) == 0
    assert b"\0model" in texts(output)


def test_a_folder_of_which_all_is_left_out(tmp_path, capsys):
    (tmp_path / "model").write_bytes(b"\0")
    assert refusal([tmp_path, "--output", tmp_path / "x"], capsys) == (
        f"keras_griffin tokenize: FILES must contain a text file. "
        f"Got none in {tmp_path}, leaving out 1 binary file (1 byte).\n"
    )


def test_a_full_disk_leaves_the_earlier_file(folder, tmp_path, limit_files, capsys):
    (tmp_path / "some.tokens").write_text("old")
    with limit_files(8):
        error = refusal([folder, "--output", tmp_path / "some.tokens", "--overwrite"], capsys)
    rule = "tokenize: files must be readable, and --output writable, on a disk with enough space. Got [Errno "
    assert error.startswith(f"keras_griffin {rule}")
    assert sorted(os.listdir(tmp_path)) == ["some.tokens", "texts"]
    assert (tmp_path / "some.tokens").read_text() == "old"


def test_sigterm_leaves_nothing(folder, tmp_path, monkeypatch, capsys):
    token_ids, seen = tokenize.token_ids, []

    def token_ids_and_sigterm(tokenizer, path, place, text, stop):
        seen.append(text)
        # Another document has been written before.
        if len(seen) == 2:
            assert list(tmp_path.glob(".some.tokens.partial-*/offsets"))
            signal.raise_signal(signal.SIGTERM)
        return token_ids(tokenizer, path, place, text, stop)

    monkeypatch.setattr(tokenize, "token_ids", token_ids_and_sigterm)
    (tmp_path / "some.tokens").write_text("old")
    with pytest.raises(Terminated) as caught:
        main(["tokenize", str(folder), "--lines", "--output", str(tmp_path / "some.tokens"), "--overwrite"])
    assert caught.value.code == 143 and len(seen) == 2
    assert capsys.readouterr().err == "\nStopping after this document; a second signal stops at once.\n"
    assert sorted(os.listdir(tmp_path)) == ["some.tokens", "texts"]
    assert (tmp_path / "some.tokens").read_text() == "old"


def test_parts_read_together_what_the_files_hold(tmp_path):
    """Files, empty ones, ends of lines of both kinds and none at the end, cut at every byte."""
    contents = ["né\r\n\nzwei\n".encode(), b"", b"\n", b"one line", b"three\nmore\n\n"]
    paths = [tmp_path / str(number) for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    sizes = list(map(len, contents))
    for read in (tokenize.read_lines, tokenize.read_files):
        whole = [
            (path.name, place, text) for path, place, text in read([(path, 0, None) for path in paths], Progress(1).add)
        ]
        for count in range(1, sum(sizes) + 2):
            progress, parts = Progress(1), tokenize.divided(paths, sizes, count)
            found = [each for part in parts for each in read(part, progress.add)]
            assert [(path.name, place, text) for path, place, text in found] == whole
            assert progress.done == sum(sizes) and len(parts) == count


def test_shards_hold_what_one_file_does(gemma_model, folder, tmp_path, capsys):
    gemma_model.tokenizer.save(tmp_path / "tokenizer")
    (folder / "more" / "c.txt").write_text("the cat\nhello world\nthe hat\n")
    argv = ["tokenize", str(folder), "--lines", "--stop", "--tokenizer", str(tmp_path / "tokenizer")]
    assert main([*argv, "--output", str(tmp_path / "one")]) == 0
    one = capsys.readouterr().out.splitlines()
    assert main([*argv, "--output", str(tmp_path / "some"), "--shards", "2"]) == 0
    some = capsys.readouterr().out.splitlines()
    # All but the rate of reading.
    assert some[1:-1] == one[1:-1]
    whole, folder_of_two = TokenFile(tmp_path / "one"), TokenFile(tmp_path / "some")
    assert some[-1] == (
        f"written      {tmp_path / 'some'}, 2 files, "
        f"{sum(shard.path.stat().st_size for shard in folder_of_two.shards):,} bytes, in uint16"
    )
    assert [document.tolist() for document in folder_of_two] == [document.tolist() for document in whole]
    assert 0 < len(folder_of_two.shards[0]) < len(folder_of_two) == 5
    folder_of_two.check_model(gemma_model)
    folder_of_two.verify()
    sentence = "--output must be a new folder, or an empty one; --overwrite replaces an earlier result. Got "
    assert sentence in refusal([*argv[1:], "--output", tmp_path / "some", "--shards", "2"], capsys)
    (tmp_path / "some" / "mine").touch()
    sentence = "a folder to be replaced must contain nothing that would be lost. Got "
    error = refusal([*argv[1:], "--output", tmp_path / "some", "--shards", "2", "--overwrite"], capsys)
    assert sentence in error and "mine" in error
    assert len(list((tmp_path / "some").iterdir())) == 3


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_sees_a_line_of_progress_that_goes_away(monkeypatch):
    monkeypatch.setattr("sys.stderr", Terminal())
    progress = Progress(2_000_000)
    progress.add(500_000, of_text=400_000)
    progress.add(500_000, of_text=500_000)  # too soon to be shown
    (line,) = sys.stderr.getvalue().split("\r")[1:]
    assert re.fullmatch(r" 25% of 2\.0 MB, [\d.,]+ MB/s +", line)
    progress.clear()
    assert sys.stderr.getvalue().split("\r")[2:] == [" " * len(line), ""]
    assert (progress.done, progress.of_text) == (1_000_000, 900_000)
