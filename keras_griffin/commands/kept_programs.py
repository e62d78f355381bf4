"""Compiled programs that are kept for the next start, so that its first token need not wait for the compiler."""

import hashlib
import os
import platform
from pathlib import Path

from keras_griffin import backends
from keras_griffin.program import is_command_line


def keep_programs() -> None:
    """Keep what JAX compiles in the user's cache, if the process is the command line.

    The folder is `$XDG_CACHE_HOME/keras_griffin/programs` (`~/.cache/...`), with a folder for each kind of processor:
    on a cluster, machines that share a home may not share machine code. It may be deleted at any time. Where there is
    no home, the folder can't be written, or the user has set a cache of JAX's own, nothing changes.
    """
    if not is_command_line():
        return
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    # The home of a user without one, as in a container, is "~": the current folder's.
    if not os.path.isabs(home):
        return
    folder = Path(home, "keras_griffin", "programs", _processor())
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if os.access(folder, os.W_OK):
        backends.active().keep_programs(str(folder))


def _processor() -> str:
    """A name for what machine code must fit."""
    facts = [platform.system(), platform.machine()]
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
        facts += sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
    except OSError:
        facts.append(platform.processor())
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]
