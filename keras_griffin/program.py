"""The process of the command line: Ctrl-C while it is still loading, which takes seconds, and TensorFlow's log."""

import functools
import importlib.abc
import importlib.machinery
import os
import signal
import sys
import tempfile
import threading

#: The variable that chooses what TensorFlow logs.
_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
#: The handler that `use_default_sigint` replaced, if any.
_changed: list = []


def use_default_sigint() -> None:
    """On the command line, let Ctrl-C end the process without a traceback, unless SIGINT already has a handler."""
    # Python would raise KeyboardInterrupt somewhere in a backend's modules. Only the main thread may change a handler.
    is_main = threading.current_thread() is threading.main_thread()
    if is_command_line() and is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        _changed.append(signal.signal(signal.SIGINT, signal.SIG_DFL))


def keep_tensorflow_quiet() -> None:
    """On the command line, keep TensorFlow's log out of the output, unless the user has chosen its level."""
    # Keras imports TensorFlow, where it is installed, also for other backends. Its errors reach Python as exceptions.
    if is_command_line() and _LEVEL not in os.environ:
        os.environ[_LEVEL] = "3"
        sys.meta_path.insert(0, _QuietTensorFlow())


class _QuietTensorFlow(importlib.abc.MetaPathFinder):
    """Imports TensorFlow without what it writes on standard error before it has read its level; shown if it fails."""

    def find_spec(self, name, path=None, target=None):
        """The usual specification of TensorFlow, imported quietly; None for other modules."""
        spec = importlib.machinery.PathFinder.find_spec(name, path) if name == "tensorflow" else None
        if spec is not None and spec.loader is not None:
            spec.loader.exec_module = functools.partial(_quietly, spec.loader.exec_module)  # type: ignore[method-assign]
        return spec


def _quietly(function, *arguments):
    """Call a function with standard error in a file, which is shown if the function fails."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as file, os.fdopen(os.dup(2), "wb") as terminal:
        os.dup2(file.fileno(), 2)
        try:
            function(*arguments)
            file.truncate(0)
        finally:
            sys.stderr.flush()
            os.dup2(terminal.fileno(), 2)
            file.seek(0)
            terminal.write(file.read())


def restore_sigint() -> None:
    """Let Ctrl-C raise KeyboardInterrupt again, if `use_default_sigint` changed that."""
    if _changed:
        signal.signal(signal.SIGINT, _changed.pop())


def is_command_line() -> bool:
    """Whether the process is `python -m keras_griffin` or `keras-griffin`."""
    program = sys.argv[0] if sys.argv else ""
    if program == "-m":
        # `sys.argv[0]` is "-m" while Python locates the module to run.
        return sys.orig_argv[-len(sys.argv)].removeprefix("-m") == "keras_griffin"
    is_module = os.path.split(program)[1] == "__main__.py" and os.path.dirname(program) == os.path.dirname(__file__)
    return is_module or os.path.splitext(os.path.basename(program))[0] == "keras-griffin"
