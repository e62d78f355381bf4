"""Compiled programs that are kept for other processes; `tests/commands/test_kept_programs.py` has the folder."""

import os

import keras
import pytest

from keras_griffin import backends

BACKEND = keras.backend.backend()
pytestmark = pytest.mark.any_backend


@pytest.mark.skipif(BACKEND == "jax", reason="JAX keeps them")
def test_the_others_change_nothing(tmp_path):
    before = dict(os.environ)
    assert backends.active().keep_programs(str(tmp_path)) is None
    assert not list(tmp_path.iterdir()) and dict(os.environ) == before


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
