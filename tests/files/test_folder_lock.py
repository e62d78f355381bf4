import errno
import os
import runpy
import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest

from keras_griffin.files import folder_lock as module
from keras_griffin.files.folder_lock import FolderInUse, folder_lock

pytestmark = pytest.mark.any_backend

HOLD = """
import os, runpy, sys, time
from pathlib import Path
with runpy.run_path(sys.argv[1])["folder_lock"](Path(sys.argv[2])):
    if os.fork() == 0:
        # After what happens in a process that was forked.
        print("held", flush=True)
        time.sleep(20)
        os._exit(0)
    time.sleep(20)
"""


@pytest.fixture
def of_windows(monkeypatch):
    """The module as Windows imports it; a lock on one far byte is here one on the file."""

    def locking(descriptor, mode, number):
        assert (os.lseek(descriptor, 0, os.SEEK_CUR), mode, number) == (1 << 30, "LK_NBLCK", 1)
        module.fcntl.flock(descriptor, module.fcntl.LOCK_EX | module.fcntl.LOCK_NB)

    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(locking=locking, LK_NBLCK="LK_NBLCK"))
    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.delattr(os, "register_at_fork")
    return runpy.run_path(module.__file__)


@pytest.mark.skipif(os.name == "nt", reason="there it is the module itself")
def test_windows_locks_a_byte_and_leaves_the_file(tmp_path, of_windows):
    path = tmp_path / "lock"
    for _ in range(2):
        with of_windows["folder_lock"](path):
            with pytest.raises(of_windows["FolderInUse"], match=f"in use by process {os.getpid()} on "):
                of_windows["folder_lock"](path).__enter__()
            assert path.read_text() == f"{os.getpid()} {socket.gethostname()}\n"
        assert path.exists()


def test_one_holds_it_and_another_is_told_who(tmp_path):
    path = tmp_path / "lock"
    with folder_lock(path):
        with pytest.raises(FolderInUse) as caught, folder_lock(path):
            pass
        assert isinstance(caught.value, ValueError) and str(caught.value) == (
            f"folder_lock: only one process at a time may use a folder. Got {str(tmp_path)!r}, in use by process "
            f"{os.getpid()} on {socket.gethostname()}."
        )
        assert path.exists()
    assert not path.exists()
    with folder_lock(path):
        pass


def test_what_is_left_of_another_holds_nobody_up(tmp_path):
    """Of any process and host: a file that nobody has locked is nobody's."""
    for left in ("1 " + socket.gethostname(), "77 elsewhere", "", "nonsense of\nmany words"):
        (tmp_path / "lock").write_text(left)
        with folder_lock(tmp_path / "lock"):
            assert (tmp_path / "lock").read_text() == f"{os.getpid()} {socket.gethostname()}\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_killed_process_leaves_no_lock_though_one_that_it_forked_goes_on(tmp_path):
    # The file alone, since Keras takes seconds.
    command = [sys.executable, "-c", HOLD, module.__file__, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(ValueError, match=f"process {process.pid} on "), folder_lock(tmp_path / "lock"):
            pass
        process.kill()
        process.wait()
        process.stdout.close()
        assert (tmp_path / "lock").exists()
        with folder_lock(tmp_path / "lock"):
            pass


@pytest.mark.skipif(os.name == "nt", reason="Windows locks otherwise")
def test_where_files_cannot_be_locked_it_is_said(tmp_path, monkeypatch):
    def refuse(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(module.fcntl, "flock", refuse)
    with pytest.warns(UserWarning, match="folder_lock: .* has no locks"), folder_lock(tmp_path / "l"):
        pass
