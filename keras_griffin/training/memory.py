"""Memory that a process keeps between training steps."""

import ctypes

#: Parameters of glibc's `mallopt`, and their values: never return the top of the heap to the system, take no memory
#: from outside of the heap, and let all threads share the heap.
PARAMETERS = {"M_TRIM_THRESHOLD": (-1, -1), "M_MMAP_MAX": (-4, 0), "M_ARENA_MAX": (-8, 1)}


def retain_memory() -> bool:
    """Let the process keep the memory that it frees, which makes training on a CPU faster.

    The C library returns large freed arrays to the system, which clears every page that it hands out again: in each
    step. With this the process grows to its peak, reuses what it has freed, and does not shrink. On JAX and PyTorch a
    step of 290 M parameters takes about a quarter less, on TensorFlow 4 % (`benchmarks/retained_memory.py`). Call it
    once, before the first step; the commands that train do.

    Returns:
        Whether the C library can: glibc, on Linux. Elsewhere nothing changes.

    Examples:
        >>> from keras_griffin.training import retain_memory
        >>> retain_memory() in (True, False)
        True

    Reference: `mallopt(3)`. In a shell, `GLIBC_TUNABLES` sets the same for any program.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return all([mallopt(parameter, value) == 1 for parameter, value in PARAMETERS.values()])
