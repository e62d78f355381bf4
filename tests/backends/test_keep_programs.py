"""Compiled programs that are kept for other processes; `tests/files/test_private_cache.py` has the folder."""

import os
import subprocess
import sys
import warnings

import keras
import pytest

from keras_griffin import backends

BACKEND = keras.backend.backend()
pytestmark = pytest.mark.any_backend


@pytest.mark.skipif(BACKEND == "jax", reason="JAX keeps them")
def test_the_others_change_nothing(tmp_path):
    before = dict(os.environ)
    assert backends.active().keep_programs(lambda: pytest.fail("It needs no folder.")) is None
    assert not list(tmp_path.iterdir()) and dict(os.environ) == before


@pytest.mark.skipif(BACKEND != "jax", reason="JAX's settings")
def test_a_cache_that_the_user_chose_stays(monkeypatch):
    import jax

    found = {}
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.setattr(jax.config, "update", found.__setitem__)
    backends.active().keep_programs(lambda: None)
    assert found == {}
    backends.active().keep_programs(lambda: "a")
    assert found == {"jax_compilation_cache_dir": "a", "jax_persistent_cache_min_compile_time_secs": 0.0}
    monkeypatch.undo()
    before = jax.config.jax_compilation_cache_dir
    try:
        jax.config.update("jax_compilation_cache_dir", "b")
        backends.active().keep_programs(lambda: "a")
        assert jax.config.jax_compilation_cache_dir == "b"
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


DAMAGED = """
import sys, warnings
from pathlib import Path
import keras_griffin, jax
from keras_griffin import backends
folder = Path(sys.argv[1])
backends.active().keep_programs(lambda: str(folder))

def compiled():
    jax.clear_caches()
    return [float(jax.jit(function)(1.0)) for function in (lambda x: x + 1, lambda x: 2 * x, lambda x: x - 3)]

expected = compiled()
for path in folder.iterdir():
    path.write_bytes(path.read_bytes()[:50])
assert compiled() == expected, "read"
assert all(path.stat().st_size > 50 for path in folder.iterdir()), "replaced"
for path in folder.iterdir():
    path.unlink()
folder.rmdir()
assert compiled() == expected, "not written"
warnings.warn("Another one.")
"""


@pytest.mark.skipif(BACKEND != "jax", reason="JAX's warnings")
@pytest.mark.slow
def test_damaged_programs_cost_one_line_and_are_replaced(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", DAMAGED, tmp_path / "kept"]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    lines = [line for line in run.stderr.splitlines() if "programs" in line or "persistent" in line]
    rule = f"keep_programs: the programs in '{tmp_path / 'kept'}' must be intact; they are compiled anew. Got 'jit_"
    assert len(lines) == 1 and lines[0].startswith(rule)
    assert "UserWarning: Another one." in run.stderr
