import errno
import os
import socket
import subprocess
import sys

import pytest

from keras_griffin.training.resuming import run_lock as module
from keras_griffin.training.resuming.run_lock import FolderInUse, run_lock

pytestmark = pytest.mark.any_backend

HOLD = """
import os, runpy, sys, time
from pathlib import Path
with runpy.run_path(sys.argv[1])["run_lock"](Path(sys.argv[2])):
    if os.fork() == 0:
        # After what happens in a process that was forked.
        print("held", flush=True)
        time.sleep(20)
        os._exit(0)
    time.sleep(20)
"""


def test_one_holds_it_and_another_is_told_who(tmp_path):
    path = tmp_path / "lock"
    with run_lock(path):
        with pytest.raises(FolderInUse) as caught, run_lock(path):
            pass
        assert isinstance(caught.value, ValueError) and str(caught.value) == (
            f"ResumableRun: only one process at a time may use a folder. Got {str(tmp_path)!r}, in use by process "
            f"{os.getpid()} on {socket.gethostname()}."
        )
        assert path.exists()
    assert not path.exists()
    with run_lock(path):
        pass


def test_what_is_left_of_another_holds_nobody_up(tmp_path):
    """Of any process and host: a file that nobody has locked is nobody's."""
    for left in ("1 " + socket.gethostname(), "77 elsewhere", "", "nonsense of\nmany words"):
        (tmp_path / "lock").write_text(left)
        with run_lock(tmp_path / "lock"):
            assert (tmp_path / "lock").read_text() == f"{os.getpid()} {socket.gethostname()}\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_killed_process_leaves_no_lock_though_one_that_it_forked_goes_on(tmp_path):
    # The file alone, since Keras takes seconds.
    command = [sys.executable, "-c", HOLD, module.__file__, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(ValueError, match=f"process {process.pid} on "), run_lock(tmp_path / "lock"):
            pass
        process.kill()
        process.wait()
        process.stdout.close()
        assert (tmp_path / "lock").exists()
        with run_lock(tmp_path / "lock"):
            pass


@pytest.mark.skipif(os.name == "nt", reason="Windows locks otherwise")
def test_where_files_cannot_be_locked_it_is_said(tmp_path, monkeypatch):
    def refuse(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(module.fcntl, "flock", refuse)
    with pytest.warns(UserWarning, match="ResumableRun: .* has no locks"), run_lock(tmp_path / "l"):
        pass
