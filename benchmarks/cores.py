"""How many cores a benchmark may use: fewer than there are under `taskset`."""

import os


def usable_cores() -> int:
    """The cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def machine_name() -> str:
    """The name in the files of results, `cpu-2-cores`."""
    cores = usable_cores()
    return f"cpu-{cores}-core{'s' * (cores != 1)}"
