import os
from pathlib import Path

import pytest


@pytest.fixture
def held_files_stay(monkeypatch):
    """As on Windows: a file that this process has open, or mapped into memory, can't be replaced, renamed or removed.

    But for the lock, which Windows leaves.
    """
    maps, descriptors = Path("/proc/self/maps"), Path("/proc/self/fd")
    if not maps.exists():
        pytest.skip("the system does not say what a process holds")

    def check(*paths):
        opened = (os.path.realpath(descriptor) for descriptor in descriptors.iterdir())
        mapped = (line.split(maxsplit=5)[-1] for line in maps.read_text("utf-8").splitlines())
        held = {*opened, *mapped} & {os.path.realpath(path) for path in paths if os.path.basename(path) != "lock"}
        if held:
            raise PermissionError(13, "The process cannot access the file because it is being used", held.pop())

    for name, number in {"replace": 2, "rename": 2, "unlink": 1}.items():
        function = getattr(os, name)
        monkeypatch.setattr(
            os,
            name,
            lambda *paths, function=function, number=number, **options: (
                options.get("dir_fd") is None and check(*paths[:number]),
                function(*paths, **options),
            )[1],
        )
