"""One process at a time in the folder of a run."""

import contextlib
import errno
import os
import socket
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

#: The byte that Windows locks: beyond what is written, which others may then read.
_FAR = 1 << 30
#: What file systems without locks answer.
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
#: The descriptors of the locks that this process holds.
_held: set[int] = set()


@contextlib.contextmanager
def run_lock(path: Path) -> Iterator[None]:
    """Inside the `with` block no other process, and nobody else in this one, gets the same lock.

    The file says who holds it; whether anybody does, the system's lock on the file says. That one ends with its
    process, however the process ends: what `kill -9` leaves behind holds nobody up.

    Args:
        path: of the file; its folder exists.

    Raises:
        ValueError: another has it.
    """
    descriptor = _locked(path)
    _held.add(descriptor)
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()} {socket.gethostname()}\n".encode())
        yield
    finally:
        # As long as it is locked, it is nobody else's. Windows removes no file that is open.
        if sys.platform != "win32":
            path.unlink(missing_ok=True)
        _held.discard(descriptor)
        os.close(descriptor)


def _locked(path: Path) -> int:
    """A descriptor of the file that is at the path once it is locked: another process may have just removed it."""
    while True:
        with contextlib.ExitStack() as stack:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            stack.callback(os.close, descriptor)
            _lock(descriptor, path)
            if _is_at(path, descriptor):
                stack.pop_all()
                return descriptor


def _is_at(path, descriptor):
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _lock(descriptor, path):
    try:
        if sys.platform == "win32":
            os.lseek(descriptor, _FAR, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            sentence = f"ResumableRun: {str(path.parent)!r} lies where files can't be locked, so two may train in it."
            warnings.warn(sentence, stacklevel=2)
            return
        os.lseek(descriptor, 0, os.SEEK_SET)
        pid, _, host = os.read(descriptor, 1000).decode(errors="replace").strip().partition(" ")
        raise ValueError(
            "ResumableRun: a folder must be of one process at a time. Got "
            f"{str(path.parent)!r}, in which process {pid or 'unknown'} on {host or 'an unknown host'} trains."
        ) from error


def _let_go():
    """In a process that was forked, as a loader's are: it may outlive the one that trains, and must hold no lock."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
