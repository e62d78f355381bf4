import os

import pytest

from keras_griffin.tasks import text_files
from keras_griffin.tasks.text_files import BINARY_BYTES, CorpusError, LeftOut, find_text_files, read_file

pytestmark = pytest.mark.any_backend


def write_files(folder, contents):
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def found(paths, **options):
    """The files' names below the first path, and what was left out."""
    left_out = LeftOut()
    files = list(find_text_files(paths, left_out, speaker="read", **options))
    return [os.path.relpath(file, paths[0]) for file in files], str(left_out)


@pytest.fixture
def folder(tmp_path):
    """A folder with one of everything that is left out, and with three files that are not."""
    contents = {
        "a": b"text",
        "b/c.txt": "né".encode("latin-1"),
        "b.txt": b"x" * BINARY_BYTES + b"\0",
        "b/image": b"x" * (BINARY_BYTES - 1) + b"\0" + b"x" * 1_200_000,
        "b/short": "text".encode("utf-16"),
        "run/log.csv": b"epoch",
        "run/checkpoints/step": b"step",
        ".git/x": b"git",
        ".hidden": b"hidden",
        "b/__pycache__/z": b"code",
    }
    folder = write_files(tmp_path / "folder", contents)
    (folder / "around").symlink_to(folder, target_is_directory=True)
    (folder / "itself").symlink_to(folder / "itself")
    os.mkfifo(folder / "pipe")
    return folder


LEFT_OUT = (
    "2 binary files (1.2 MB), 1 folder that holds a run, 3 hidden, 1 link to a folder, 1 broken link, "
    "1 neither file nor folder"
)


def test_what_is_left_out_is_counted_by_its_kind(folder):
    assert found([folder], holds_run=lambda path: (path / "log.csv").exists()) == (
        ["a", "b/c.txt", "b.txt"],
        LEFT_OUT,
    )


def test_binary_files_and_runs_are_found_when_asked_for(folder):
    names, left_out = found([folder], include_binary=True)
    assert names == ["a", "b/c.txt", "b/image", "b/short", "b.txt", "run/checkpoints/step", "run/log.csv"]
    assert left_out == LEFT_OUT.replace("2 binary files (1.2 MB), 1 folder that holds a run, ", "")


def test_a_device_is_no_text():
    with pytest.raises(
        CorpusError, match=r"^read: a path must be a file or a folder\. Got '/dev/null', which is neither"
    ):
        found(["/dev/null"])


@pytest.mark.parametrize(
    ("method", "kind"), [("open", "file"), ("is_dir", "file"), ("iterdir", "folder"), ("read_bytes", "file")]
)
def test_what_can_not_be_read_is_refused_with_the_reason(tmp_path, monkeypatch, method, kind):
    def refuse(*arguments):
        raise PermissionError(13, "Permission denied")

    write_files(tmp_path / "folder", {"a": b"one"})
    monkeypatch.setattr(text_files.Path, method, refuse)
    with pytest.raises(CorpusError, match=rf"^read: a {kind} must be readable\. Got '.*': Permission denied\.$"):
        for path in find_text_files([tmp_path / "folder"], LeftOut(), speaker="read"):
            read_file(path, "read")
