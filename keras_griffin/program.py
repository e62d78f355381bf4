"""Ctrl-C while the command line is still being loaded, which takes seconds."""

import os
import signal
import sys
import threading

#: What `let_ctrl_c_end_it` has changed, if anything.
_changed: list = []


def let_ctrl_c_end_it() -> None:
    """Have Ctrl-C end the process without a traceback, where this is the command line and nobody else sees to Ctrl-C.

    Python would raise KeyboardInterrupt somewhere in a backend's modules. `main` calls `take_ctrl_c_back`.
    """
    if is_command_line() and _handler() is signal.default_int_handler:
        _changed.append(signal.signal(signal.SIGINT, signal.SIG_DFL))


def take_ctrl_c_back() -> None:
    """Have Ctrl-C raise KeyboardInterrupt again, where it would not."""
    if _changed:
        signal.signal(signal.SIGINT, _changed.pop())


def is_command_line() -> bool:
    """Whether the process is `python -m keras_griffin` or `keras-griffin`."""
    program = sys.argv[0] if sys.argv else ""
    if program == "-m":
        # As it stands while Python looks for the module that it is to run.
        return sys.orig_argv[-len(sys.argv)].removeprefix("-m") == "keras_griffin"
    return os.path.splitext(os.path.basename(program))[0] == "keras-griffin"


def _handler():
    """That of Ctrl-C, in the one thread that may change it."""
    return signal.getsignal(signal.SIGINT) if threading.current_thread() is threading.main_thread() else None
