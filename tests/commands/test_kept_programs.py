"""Where the command line keeps compiled programs."""

import os

import keras
import pytest

from keras_griffin import backends
from keras_griffin.commands import kept_programs
from keras_griffin.commands.kept_programs import keep_programs

BACKEND = keras.backend.backend()
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


@pytest.mark.skipif(BACKEND != "tensorflow", reason="XLA's flag of TensorFlow")
def test_the_flag_joins_the_users(monkeypatch):
    flag = "--tf_xla_persistent_cache_directory"
    for before, after in (("", f"{flag}=a"), ("--x", f"--x {flag}=a"), (f"{flag}=b", f"{flag}=b")):
        monkeypatch.setenv("TF_XLA_FLAGS", before)
        backends.active().keep_programs("a")
        assert os.environ["TF_XLA_FLAGS"] == after


@pytest.mark.skipif(BACKEND != "jax", reason="JAX's settings")
def test_a_cache_that_the_user_chose_stays(monkeypatch):
    import jax

    found = {}
    monkeypatch.setattr(jax.config, "update", found.__setitem__)
    backends.active().keep_programs("a")
    assert found == {"jax_compilation_cache_dir": "a", "jax_persistent_cache_min_compile_time_secs": 0.0}
    found.clear()
    monkeypatch.undo()
    before = jax.config.jax_compilation_cache_dir
    try:
        jax.config.update("jax_compilation_cache_dir", "b")
        backends.active().keep_programs("a")
        assert jax.config.jax_compilation_cache_dir == "b"
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
