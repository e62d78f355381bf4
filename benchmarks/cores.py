"""The number of cores that a benchmark may use, which `taskset` limits."""

import os


def usable_cores() -> int:
    """The cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def machine_name() -> str:
    """The machine's name in result files, such as `cpu-2-cores`."""
    cores = usable_cores()
    return f"cpu-{cores}-core{'s' * (cores != 1)}"
