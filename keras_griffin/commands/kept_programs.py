"""Compiled programs that are kept for the next start, so that its first token need not wait for the compiler."""

import hashlib
import os
import platform
import stat
import sys
from functools import partial
from pathlib import Path

from keras_griffin import backends
from keras_griffin.program import is_command_line


def keep_programs(command: str) -> None:
    """Keep what JAX compiles in the user's cache, if the process is the command line.

    The folder is `$XDG_CACHE_HOME/keras_griffin/programs` (`~/.cache/...`), with a folder for each kind of processor:
    on a cluster, machines that share a home may not share machine code. It may be deleted at any time. Where there is
    no home, the folder can't be written, or the user has set a cache of JAX's own, nothing changes. Whoever can change
    a program can run code as the user, so a folder that others can change is not used, which is said on standard error.

    Args:
        command: name for that sentence.
    """
    if is_command_line():
        backends.active().keep_programs(partial(_private_folder, command))


def _private_folder(command: str) -> str | None:
    """The folder, without symbolic links, which could change later; None if it can't be used."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    # The home of a user without one, as in a container, is "~": the current folder's.
    if not os.path.isabs(home):
        return None
    folder = Path(home, "keras_griffin", "programs", _processor())
    try:
        for place in reversed((folder, *folder.parents)):
            place.mkdir(0o700, exist_ok=True)
    except OSError:
        return None
    folder = folder.resolve()
    if not os.access(folder, os.W_OK):
        return None
    # Windows gives a profile's folders to its user alone, and has no modes.
    shared = _first_shared(folder) if os.name == "posix" else None
    if shared is not None:
        found = shared.stat()
        print(
            f"{command}: compiled programs must be in a folder that only its user can change. "
            f"Got {str(shared)!r} of user {found.st_uid} with mode {stat.S_IMODE(found.st_mode):04o}, so none are "
            f"kept; make it private and delete {str(folder)!r}, or set XDG_CACHE_HOME.",
            file=sys.stderr,
        )
        return None
    folder.chmod(0o700)
    return str(folder)


def _first_shared(folder: Path) -> Path | None:
    """The first of a folder and its parents that someone else can change."""
    for place in (folder, *folder.parents):
        found = place.stat()
        # In a sticky folder, such as /tmp, nobody else can replace what is the user's.
        is_sticky = place != folder and found.st_mode & stat.S_ISVTX
        if found.st_uid not in (os.geteuid(), 0) or (found.st_mode & 0o022 and not is_sticky):
            return place
    return None


def _processor() -> str:
    """A name for what machine code must fit."""
    facts = [platform.system(), platform.machine()]
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
        facts += sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
    except OSError:
        facts.append(platform.processor())
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]
