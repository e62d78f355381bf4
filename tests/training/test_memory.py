import ctypes
import subprocess
import sys

import pytest

from keras_griffin.training import memory, retain_memory

#: Page faults of an array of 64 MiB that is allocated after one of the same size was freed.
FAULTS = """
import resource, sys
if sys.argv[1:]:
    from keras_griffin.training import retain_memory
    assert retain_memory()
length = 1 << 26
b"x" * length
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
b"x" * length
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

pytestmark = pytest.mark.any_backend


def is_glibc():
    try:
        return bool(ctypes.CDLL(None).gnu_get_libc_version)
    except (AttributeError, OSError, TypeError):
        return False


@pytest.mark.skipif(not is_glibc(), reason="only glibc can")
def test_an_array_reuses_the_pages_of_one_that_was_freed():
    plain, kept = (
        int(subprocess.check_output([sys.executable, "-c", FAULTS, *arguments], text=True))
        for arguments in ([], ["retain"])
    )
    assert plain > 1000 and kept < 100


def test_another_c_library_changes_nothing(monkeypatch):
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: object())
    assert not retain_memory()
