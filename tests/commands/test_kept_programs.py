"""Where the command line keeps compiled programs."""

import os

import pytest

from keras_griffin import backends
from keras_griffin.commands import kept_programs
from keras_griffin.commands.kept_programs import keep_programs

pytestmark = pytest.mark.any_backend


@pytest.fixture
def folders(monkeypatch, tmp_path):
    """The folders that the backend was given; the cache is in `tmp_path`."""
    found = []
    monkeypatch.setattr(backends.active(), "keep_programs", found.append)
    monkeypatch.setattr(kept_programs, "is_command_line", lambda: True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return found


def test_they_are_in_the_users_cache_by_the_processor(folders, monkeypatch, tmp_path):
    keep_programs()
    keep_programs()
    monkeypatch.setattr(kept_programs.platform, "machine", lambda: "another")
    keep_programs()
    first, second, other = (os.path.relpath(folder, tmp_path / "keras_griffin/programs") for folder in folders)
    assert first == second != other and len(first) == len(other) == 16


def test_a_program_that_uses_the_package_keeps_none(folders, monkeypatch):
    monkeypatch.setattr(kept_programs, "is_command_line", lambda: False)
    keep_programs()
    assert folders == []


def test_without_a_cache_that_can_be_written_there_is_none(folders, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    keep_programs()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(os, "access", lambda *_: False)
    keep_programs()
    assert folders == []


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
    keep_programs()
    assert folders == [] == os.listdir(tmp_path)
