"""A folder of the user's cache for compiled programs, which only the user can change."""

import hashlib
import os
import platform
import stat
import sys
from pathlib import Path


def private_cache(function_name: str) -> str | None:
    """The folder `keras_griffin/programs/<processor>` of `$XDG_CACHE_HOME`, or `~/.cache`; None if it can't be used."""
    # Machines of a cluster that share a home may not share machine code, so each kind of processor has its own folder.
    # Whoever can change a program can run code as the user, so a folder that others can change is not used.
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
    # A symbolic link could change later.
    folder = folder.resolve()
    if not os.access(folder, os.W_OK):
        return None
    # Windows gives a profile's folders to its user alone, and has no modes.
    shared = _first_shared(folder) if os.name == "posix" else None
    if shared is not None:
        found = shared.stat()
        print(
            f"{function_name}: compiled programs must be in a folder that only its user can change. "
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
