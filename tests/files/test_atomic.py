import os

import pytest

from keras_griffin.files import atomic_file
from keras_griffin.files.atomic import atomic_folder

pytestmark = pytest.mark.any_backend


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_file_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "a.txt"
    with atomic_file(path) as aside:
        assert aside.name == path.name
        aside.write_text("new")
        assert not path.exists()
    assert contents(tmp_path) == {"a.txt": "new"} and os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_file_or_folder_that_fails_leaves_the_earlier_one_and_nothing_beside_it(tmp_path, error):
    (tmp_path / "folder").mkdir()
    for path, kind, inside in ((tmp_path / "file", atomic_file, ""), (tmp_path / "folder", atomic_folder, "a.txt")):
        options = {"replaces": {inside}} if inside else {}
        (path / inside).write_text("old")
        with pytest.raises(type(error)), kind(path, **options) as aside:
            (aside / inside).write_text("a par")
            raise error
    assert contents(tmp_path) == {"file": "old", "folder/a.txt": "old"} and len(os.listdir(tmp_path)) == 2


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    path = tmp_path / "a.txt"
    with atomic_file(path) as first:
        first.write_text("fir")
        with atomic_file(path) as second:
            second.write_text("second")
        assert path.read_text() == "second"
        first.write_text("first")
    assert path.read_text() == "first"


def test_a_link_to_a_file_stays_a_link(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with atomic_file(tmp_path / "link") as aside:
        aside.write_text("new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_text() == "new"


def test_a_folder_appears_and_is_replaced_when_it_is_whole(tmp_path):
    path = tmp_path / "above" / "folder"
    for text in ("one", "two"):
        with atomic_folder(path, replaces={"a.txt"}) as aside:
            (aside / "a.txt").write_text(text)
            assert (contents(path) if path.exists() else {}) == ({} if text == "one" else {"a.txt": "one"})
        assert contents(path) == {"a.txt": text}
    assert os.listdir(path.parent) == ["folder"]


def test_a_folder_whose_last_step_fails_is_put_back(tmp_path, monkeypatch):
    path = tmp_path / "folder"
    path.mkdir()
    (path / "a.txt").write_text("old")
    rename = os.rename

    def rename_but_not_the_new_one(source, target):
        if (source / "a.txt").read_text() == "new":
            raise OSError("no")
        rename(source, target)

    monkeypatch.setattr(os, "rename", rename_but_not_the_new_one)
    with pytest.raises(OSError, match="no"), atomic_folder(path, replaces={"a.txt"}) as aside:
        (aside / "a.txt").write_text("new")
    assert contents(path) == {"a.txt": "old"} and os.listdir(tmp_path) == ["folder"]


def test_what_the_writer_does_not_know_is_not_lost(tmp_path):
    path = tmp_path / "folder"
    path.mkdir()
    (path / "diary.txt").write_text("dear diary")
    (path / "cache.txt").write_text("old")
    sentence = r"atomic_folder: .* nothing that would be lost\. Got '.*' with diary\.txt\."
    with pytest.raises(ValueError, match=sentence), atomic_folder(path, replaces={"cache.txt"}):
        pytest.fail("It is refused before anything is written.")
    (path / "diary.txt").unlink()
    with pytest.raises(ValueError, match=sentence), atomic_folder(path, replaces={"cache.txt"}):
        (path / "diary.txt").write_text("written meanwhile")
    assert contents(path) == {"diary.txt": "written meanwhile", "cache.txt": "old"}
    (path / "diary.txt").unlink()
    with atomic_folder(path, replaces={"cache.txt"}) as aside:
        (aside / "a.txt").write_text("new")
    assert contents(path) == {"a.txt": "new"}


def test_a_file_in_the_folder_s_place_is_refused(tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(ValueError, match=r"^atomic_folder: .* where '.*a' is a file\."), atomic_folder(tmp_path / "a"):
        pass
