"""Where the command line keeps compiled programs."""

import os
from pathlib import Path

import pytest

from keras_griffin import backends
from keras_griffin.commands.shared import load
from keras_griffin.commands.shared.load import keep_programs
from keras_griffin.files import private_cache

pytestmark = pytest.mark.any_backend


@pytest.fixture
def folders(monkeypatch, tmp_path):
    """The folders that the backend was given; the cache is in `tmp_path`."""
    found = []
    monkeypatch.setattr(backends.active(), "keep_programs", lambda find_folder: found.append(find_folder()))
    monkeypatch.setattr(load, "is_command_line", lambda: True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return found


def test_they_are_in_the_users_cache_by_the_processor(folders, monkeypatch, tmp_path):
    keep_programs("generate")
    keep_programs("generate")
    monkeypatch.setattr(private_cache.platform, "machine", lambda: "another")
    keep_programs("generate")
    first, second, other = (os.path.relpath(folder, tmp_path / "keras_griffin/programs") for folder in folders)
    assert first == second != other and len(first) == len(other) == 16


def test_a_program_that_uses_the_package_keeps_none(folders, monkeypatch):
    monkeypatch.setattr(load, "is_command_line", lambda: False)
    keep_programs("generate")
    assert folders == []


def test_a_cache_that_can_not_be_written_is_left_without_a_word(folders, monkeypatch, tmp_path, capfd):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    keep_programs("generate")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(os, "access", lambda *_: False)
    keep_programs("generate")
    assert folders == [None, None] and capfd.readouterr() == ("", "")


@pytest.fixture
def permissive():
    """What a process creates may be changed by its user's group."""
    before = os.umask(0o002)
    yield
    os.umask(before)


@pytest.mark.skipif(os.name != "posix", reason="Windows has no modes")
def test_every_new_folder_is_its_users_alone(folders, permissive, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home" / "cache"))
    keep_programs("generate")
    place = Path(folders[0])
    while place != tmp_path:
        assert place.stat().st_mode & 0o777 == 0o700
        place = place.parent
    Path(folders[0]).chmod(0o755)
    keep_programs("generate")
    assert folders[0] == folders[1] and Path(folders[0]).stat().st_mode & 0o777 == 0o700


def shared_with_the_group(folder):
    folder.chmod(0o775)
    return folder


def shared_above(folder):
    folder.parents[1].chmod(0o757)
    return folder.parents[1]


def sticky(folder):
    folder.chmod(0o1777)
    return folder


def moved_behind_a_link(folder):
    """A link of the user's own, to a private folder in another's."""
    place = folder.parents[2] / "shared"
    place.mkdir()
    folder.rename(place / "private")
    folder.symlink_to(place / "private")
    place.chmod(0o777)
    return place


def given_away(folder):
    if os.geteuid() == 0:
        os.chown(folder, 12345, -1)
    else:
        pytest.skip("only root gives a folder away")
    return folder


@pytest.mark.skipif(os.name != "posix", reason="Windows has no modes")
@pytest.mark.parametrize("share", [shared_with_the_group, shared_above, sticky, moved_behind_a_link, given_away])
def test_a_folder_that_others_can_change_is_not_used(folders, share, capfd):
    keep_programs("generate")
    shared = share(Path(folders[0]))
    keep_programs("chat")
    assert folders[1] is None
    _, said = capfd.readouterr()
    found = shared.stat()
    assert said == (
        "chat: compiled programs must be in a folder that only its user can change. "
        f"Got '{shared}' of user {found.st_uid} with mode {found.st_mode & 0o7777:04o}, so none are kept; "
        f"make it private and delete '{Path(folders[0]).resolve()}', or set XDG_CACHE_HOME.\n"
    )


@pytest.mark.parametrize("cache", [None, "relative"])
def test_a_user_without_a_home_keeps_none(folders, monkeypatch, tmp_path, cache):
    """As in a container whose user the system does not know; the current folder stays as it is."""

    def getpwuid(uid):
        raise KeyError(uid)

    monkeypatch.setattr(pytest.importorskip("pwd"), "getpwuid", getpwuid)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME")
    if cache:
        monkeypatch.setenv("XDG_CACHE_HOME", cache)
    monkeypatch.chdir(tmp_path)
    keep_programs("generate")
    assert folders == [None] and os.listdir(tmp_path) == []
