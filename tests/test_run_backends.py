import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.any_backend

SCRIPT = Path(__file__).parent / "run_backends.py"


def run(folder, source, *arguments):
    """Run a suite of one file on the numpy backend; return the exit status and the lines printed."""
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_sample.py").write_text(source)
    command = [sys.executable, str(SCRIPT), "--backends", "numpy", str(folder), *arguments]
    process = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    return process.returncode, process.stdout.splitlines()


MIXED = "import pytest\ndef test_a(): pass\ndef test_b(): assert False\ndef test_c(): pytest.skip()\n"


@pytest.mark.parametrize(
    ("source", "status", "closing_line"),
    [
        (MIXED, 1, "1 passed, 1 failed, 1 skipped"),
        ("", 1, "0 passed, 1 failed, 0 skipped"),
        ("import nowhere\n", 1, "0 passed, 1 failed, 0 skipped"),
        ("import os\ndef test_a(): os._exit(7)\n", 1, "0 passed, 1 failed, 0 skipped"),
    ],
    ids=["mixed", "no test", "broken file", "killed"],
)
def test_the_status_and_the_closing_line_say_what_happened(tmp_path, source, status, closing_line):
    returned, lines = run(tmp_path, source)
    assert (returned, lines[-1]) == (status, closing_line)
    if source == MIXED:
        assert lines[lines.index("The failed tests") + 1].split() == ["numpy", "test_sample.test_b"]


def test_a_run_sees_its_backend_and_an_empty_keras_home_and_passes_arguments_on(tmp_path):
    source = (
        "import os\n"
        "def test_a():\n    assert os.environ['KERAS_BACKEND'] == 'numpy'\n"
        "def test_b():\n    assert os.listdir(os.environ['KERAS_HOME']) == []\n"
        "def test_c():\n    assert False\n"
    )
    status, lines = run(tmp_path, source, "-k", "test_a or test_b")
    assert (status, lines[-1]) == (0, "2 passed, 0 failed, 0 skipped")
    assert "The failed tests" not in lines


MARKED = """
import os, pytest
def test_a(): pass
@pytest.mark.slow
def test_b(): pass
@pytest.mark.any_backend
def test_c(): pass
@pytest.mark.any_backend
@pytest.mark.trainable
def test_d(): pass
@pytest.mark.exhaustive
def test_e(): pass
"""


def shown(lines):
    """The tests that are named at the end, by backend."""
    named = {}
    for backend, test in re.findall(r"(\w+) +test_sample\.test_(\w)$", "\n".join(lines), re.MULTILINE):
        named.setdefault(backend, set()).add(test)
    return named


def test_marked_tests_are_left_out_and_the_slowest_are_printed(tmp_path):
    (tmp_path / "conftest.py").write_text(
        "def pytest_configure(config):\n"
        "    for mark in ('slow', 'exhaustive', 'any_backend', 'trainable'):\n"
        "        config.addinivalue_line('markers', mark)\n"
    )
    status, lines = run(tmp_path, MARKED, "--quick")
    assert (status, lines[-1]) == (0, "2 passed, 0 failed, 0 skipped")
    assert shown(lines) == {"numpy": {"a", "c"}}
    status, lines = run(tmp_path, MARKED, "--backends", "jax,torch,numpy")
    assert (status, lines[-1]) == (0, "8 passed, 0 failed, 0 skipped")
    assert {"The slowest files, in seconds", "The slowest tests, in seconds"} < set(lines)
    assert shown(lines) == {"jax": {"a", "b"}, "torch": {"a", "b", "d"}, "numpy": {"a", "b", "c"}}
    status, lines = run(tmp_path, MARKED, "--exhaustive")
    assert (status, shown(lines)) == (0, {"numpy": {"a", "b", "c", "e"}})
