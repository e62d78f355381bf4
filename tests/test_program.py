import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import threading

import pytest

from keras_griffin import program
from keras_griffin.program import is_command_line, restore_sigint, use_default_sigint


@pytest.mark.parametrize(
    ("argv", "orig_argv", "expected"),
    [
        (["-m", "train", "x"], ["python", "-X", "dev", "-m", "keras_griffin", "train", "x"], True),
        (["-m"], ["python", "-mkeras_griffin"], True),
        (["-m", "keras_griffin"], ["python", "-m", "pytest", "keras_griffin"], False),
        (["/usr/bin/keras-griffin", "train"], ["python", "/usr/bin/keras-griffin", "train"], True),
        ([program.__file__.replace("program.py", "__main__.py")], ["python", "-m", "keras_griffin"], True),
        (["other/__main__.py"], ["python", "-m", "other"], False),
        (["program.py"], ["python", "program.py"], False),
        ([""], ["python"], False),
    ],
)
def test_the_command_line_is_known_by_its_name(monkeypatch, argv, orig_argv, expected):
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(sys, "orig_argv", orig_argv)
    assert is_command_line() is expected


def test_ctrl_c_is_given_and_taken_back_by_the_command_line_alone(monkeypatch):
    def other(number, frame):
        pass

    before = signal.getsignal(signal.SIGINT)
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        use_default_sigint()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        monkeypatch.setattr(program, "is_command_line", lambda: True)
        thread = threading.Thread(target=use_default_sigint)
        thread.start()
        thread.join()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        use_default_sigint()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
        restore_sigint()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        signal.signal(signal.SIGINT, other)
        use_default_sigint()
        restore_sigint()
        assert signal.getsignal(signal.SIGINT) is other
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_while_a_backend_is_loaded_leaves_no_traceback(tmp_path):
    """A module in Keras's place presses it; a shell may have had it ignored, where tests run in the background."""
    (tmp_path / "keras.py").write_text("import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(10)\n")
    root = os.path.dirname(os.path.dirname(program.__file__))
    settings = {**os.environ, "KERAS_BACKEND": "torch", "PYTHONPATH": os.pathsep.join([str(tmp_path), root])}
    heeded = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); "
        "os.execv(sys.executable, [sys.executable, '-m', 'keras_griffin', 'explain'])"
    )
    run = subprocess.run([sys.executable, "-c", heeded], capture_output=True, env=settings, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (-signal.SIGINT, "", "")


@pytest.mark.any_backend
@pytest.mark.parametrize("fails", [False, True])
def test_what_tensorflow_writes_as_it_is_imported_is_shown_if_that_fails(tmp_path, monkeypatch, capfd, fails):
    (tmp_path / "tensorflow.py").write_text("import os\nos.write(2, b'log')\n" + "raise ImportError\n" * fails)
    monkeypatch.syspath_prepend(tmp_path)
    spec = program._QuietTensorFlow().find_spec("tensorflow")
    with pytest.raises(ImportError) if fails else contextlib.nullcontext():
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    os.write(2, b", and more")
    assert capfd.readouterr().err == ("log, and more" if fails else ", and more")
    assert program._QuietTensorFlow().find_spec("keras") is None
