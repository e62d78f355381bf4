"""Ctrl-C while the command line is still loading, which takes seconds."""

import os
import signal
import sys
import threading

#: The handler that `let_ctrl_c_end_it` replaced, if any.
_changed: list = []


def let_ctrl_c_end_it() -> None:
    """On the command line, let Ctrl-C end the process without a traceback, unless it has a handler already.

    Python would raise KeyboardInterrupt somewhere in a backend's modules. `main` undoes this by `take_ctrl_c_back`.
    """
    if is_command_line() and _handler() is signal.default_int_handler:
        _changed.append(signal.signal(signal.SIGINT, signal.SIG_DFL))


def take_ctrl_c_back() -> None:
    """Let Ctrl-C raise KeyboardInterrupt again, if `let_ctrl_c_end_it` changed that."""
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


def _handler():
    """The handler of Ctrl-C; None outside the main thread, the only one that may change it."""
    return signal.getsignal(signal.SIGINT) if threading.current_thread() is threading.main_thread() else None
