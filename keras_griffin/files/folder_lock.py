"""A lock that admits one process at a time to a folder."""

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

#: The byte that Windows locks: beyond the contents, which others can then read.
_FAR = 1 << 30
#: The errors of file systems without locks.
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
#: The descriptors of the locks that this process holds.
_held: set[int] = set()


class FolderInUse(ValueError):
    """The folder is in use, by another process or elsewhere in this one."""


@contextlib.contextmanager
def folder_lock(path: Path, function_name: str = "folder_lock") -> Iterator[None]:
    """Hold a lock on a file inside the `with` block; `FolderInUse` if another process, or this one, holds it."""
    # The file names the holder, but only the system's lock on it counts. It ends with its process, however that ends: a
    # file left behind by `kill -9` blocks no one.
    descriptor = _locked(path, function_name)
    _held.add(descriptor)
    try:
        os.ftruncate(descriptor, 0)
        # On Windows the position is still the lock's, a gigabyte away.
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, f"{os.getpid()} {socket.gethostname()}\n".encode())
        yield
    finally:
        # Removed while it is locked, so that it is not another holder's. Windows can't remove an open file.
        if sys.platform != "win32":
            path.unlink(missing_ok=True)
        _held.discard(descriptor)
        os.close(descriptor)


def _locked(path: Path, function_name: str) -> int:
    """A descriptor of the locked file."""
    while True:
        with contextlib.ExitStack() as stack:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            stack.callback(os.close, descriptor)
            _lock(descriptor, path, function_name)
            # Another process may have just removed it, or replaced it by its own.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                    stack.pop_all()
                    return descriptor


def _lock(descriptor, path, function_name):
    try:
        if sys.platform == "win32":
            os.lseek(descriptor, _FAR, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            warnings.warn(
                f"{function_name}: the file system of {str(path.parent)!r} has no locks, so two processes may use it.",
                stacklevel=2,
            )
            return
        os.lseek(descriptor, 0, os.SEEK_SET)
        pid, _, host = os.read(descriptor, 1000).decode(errors="replace").strip().partition(" ")
        raise FolderInUse(
            f"{function_name}: only one process at a time may use a folder. Got "
            f"{str(path.parent)!r}, in use by process {pid or 'unknown'} on {host or 'an unknown host'}."
        ) from error


def _release_after_fork():
    """Release the locks in a forked process, such as a loader's: it may outlive the training process."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_release_after_fork)
