"""Measure times of whole calls and of kernels, memory bandwidth, and peak memory.

On a GPU or a TPU a kernel of 20 us is shorter than the Python that launches it. So `kernel_seconds` times kernels on
the device; `least_seconds` times what a user waits for.
"""

import ctypes
import functools
import os
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

import keras
import numpy as np

BACKEND = keras.backend.backend()
#: Calls of a kernel on an accelerator, and how many are queued at once without events, at least and at most; each keeps
#: its results. Between these, as many as take the seconds of `QUEUE`, beside which a launch is short.
CALLS, QUEUED, MOST_QUEUED, QUEUE = 20, 5, 200, 0.02
#: Bytes read before a call to empty the cache: more than any GPU's L2 holds.
EMPTYING = 1 << 28
#: Bytes of the array that is copied to measure an accelerator's bandwidth.
COPIED = 1 << 30
#: Cycles that a GPU waits before a call, in which the processor launches it: at least about two milliseconds, at most
#: twenty. Between these, as many as launching took, by a clock that is faster than any GPU's.
AHEAD, MOST_AHEAD, CYCLES_A_SECOND = 4_000_000, 40_000_000, 3e9
#: A call that takes less than so many times its launch may have waited for launches.
LAUNCHES = 1.2


class Times(NamedTuple):
    """Seconds of a call."""

    least: float
    median: float
    #: Whether the device may have waited for launches, as their time counts too then.
    waits: bool = False


def usable_cores() -> int:
    """The cores that this process may run on, which `taskset` limits."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def compiled(function):
    """The function as users of the backend run it: compiled on JAX and TensorFlow, eager on PyTorch."""
    if BACKEND == "jax":
        import jax

        return jax.jit(function)
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.function(function, jit_compile=True)
    return function


def forward_and_backward(function):
    """A function of `(gradient, *arguments)`: the outputs, and the vector-Jacobian product for each argument."""
    if BACKEND == "jax":
        import jax

        def with_vjp(gradient, *arguments):
            outputs, backward = jax.vjp(function, *arguments)
            return outputs, backward(gradient)

        return with_vjp
    if BACKEND == "tensorflow":
        import tensorflow as tf

        def on_tape(gradient, *arguments):
            with tf.GradientTape() as tape:
                tape.watch(arguments)
                outputs = function(*arguments)
            return outputs, tape.gradient(outputs, arguments, output_gradients=gradient)

        return on_tape

    import torch

    def with_autograd(gradient, *arguments):
        arguments = [argument.detach().requires_grad_() for argument in arguments]
        outputs = function(*arguments)
        return outputs, torch.autograd.grad(outputs, arguments, gradient)

    return with_autograd


def wait(result):
    """Wait until the result is ready."""
    if BACKEND == "jax":
        import jax

        jax.block_until_ready(result)
    elif BACKEND == "torch":
        import torch

        if torch.accelerator.is_available():
            torch.accelerator.synchronize()
    elif BACKEND == "tensorflow" and device() != "cpu":
        import tensorflow as tf

        tf.test.experimental.sync_devices()


@functools.cache
def device():
    """`"cpu"`, `"gpu"` or `"tpu"`."""
    from keras_griffin.ops.implementation import current_facts

    return current_facts(None, "float32").device


def least_seconds(function, *arguments, budget: float = 4.0) -> float:
    """The shortest of the runs within `budget` seconds, at least three, after one that compiles."""
    return min(_wall_seconds(function, arguments, budget))


def kernel_seconds(function, *arguments, budget: float = 4.0) -> Times:
    """The seconds that a call takes on the device, after one call that compiles; `CLOCKS` says how it is timed.

    Args:
        function: compiled, if the backend compiles.
        *arguments: tensors.
        budget: seconds for all calls on a CPU; an accelerator makes `CALLS` calls.
    """
    if device() == "cpu":
        seconds, waits = _wall_seconds(function, arguments, budget), False
    elif has_events():
        seconds, waits = _event_seconds(function, arguments)
    else:
        seconds, waits = _queued_seconds(function, arguments)
    return Times(min(seconds), median(seconds), waits)


#: How `kernel_seconds` measures.
CLOCKS = {
    "wall": "the clock around single calls",
    "events": f"CUDA events around each of {CALLS} calls, the L2 cache emptied before each",
    "queue": f"the clock around {QUEUED} calls or more, {QUEUE:g} s, queued at once; caches stay warm",
}


def clock() -> str:
    """How `kernel_seconds` measures here."""
    return CLOCKS["wall" if device() == "cpu" else "events" if has_events() else "queue"]


def has_events() -> bool:
    """Whether the device has CUDA's events, or HIP's."""
    if BACKEND != "torch" or device() != "gpu":
        return False
    import torch

    return torch.cuda.is_available()


def _wall_seconds(function, arguments, budget):
    wait(function(*arguments))
    times = []
    end = time.perf_counter() + budget
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        wait(function(*arguments))
        times.append(time.perf_counter() - start)
    return times


def _event_seconds(function, arguments):
    import torch

    cache = torch.zeros(EMPTYING // 4, dtype=torch.int32, device="cuda")
    function(*arguments)
    torch.cuda.synchronize()
    start = time.perf_counter()
    function(*arguments)
    cycles = int(CYCLES_A_SECOND * (time.perf_counter() - start))
    events = []
    for _ in range(CALLS):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        # Launched while the device waits, the call's kernels follow one another without a gap.
        torch.cuda._sleep(min(max(AHEAD, cycles), MOST_AHEAD))
        # Read, not written: written lines would be moved to memory during the call.
        cache.max()
        start.record()
        function(*arguments)
        end.record()
        events.append((start, end))
    torch.cuda.synchronize()
    return [start.elapsed_time(end) / 1e3 for start, end in events], cycles > MOST_AHEAD


def _queued_seconds(function, arguments):
    wait(function(*arguments))
    start = time.perf_counter()
    wait(function(*arguments))
    number = min(MOST_QUEUED, max(QUEUED, round(QUEUE / (time.perf_counter() - start))))
    times, launches = [], []
    for _ in range(CALLS // QUEUED):
        start = time.perf_counter()
        results = [function(*arguments) for _ in range(QUEUED)]
        # Of the first: a queue that is full would hold up the others.
        launches.append((time.perf_counter() - start) / QUEUED)
        wait([results, [function(*arguments) for _ in range(number - QUEUED)]])
        times.append((time.perf_counter() - start) / number)
    return times, min(times) < LAUNCHES * min(launches)


def copy_bandwidth(num_bytes: int) -> float:
    """Bytes moved per second by `a = b + c` over arrays of `num_bytes` bytes, with one thread per core."""
    from concurrent.futures import ThreadPoolExecutor

    cores = usable_cores()
    a, b, c = (np.ones(num_bytes // 4, "float32") for _ in range(3))
    parts = [slice(i * a.size // cores, (i + 1) * a.size // cores) for i in range(cores)]
    with ThreadPoolExecutor(cores) as pool:

        def triad():
            list(pool.map(lambda part: np.add(b[part], c[part], out=a[part]), parts))

        times = []
        for _ in range(30):
            start = time.perf_counter()
            triad()
            times.append(time.perf_counter() - start)
    return 3 * num_bytes / min(times)


def device_bandwidth(num_bytes: int) -> float:
    """Bytes moved per second: by `copy_bandwidth` on a CPU, by a copy of 1 GiB, which no cache holds, elsewhere."""
    return copy_bandwidth(num_bytes) if device() == "cpu" else accelerator_bandwidth()


@functools.cache
def accelerator_bandwidth() -> float:
    """Bytes read and written per second while 1 GiB is copied on the device."""
    source = keras.ops.ones(COPIED // 4, "float32")
    if BACKEND == "torch":
        target = keras.ops.zeros_like(source)
        seconds = kernel_seconds(lambda: target.copy_(source)).least
    else:
        # XLA would leave out a copy that nothing changes.
        seconds = kernel_seconds(compiled(lambda x: x + 1.0), source).least
    return 2 * COPIED / seconds


def peak_bytes(function, *arguments) -> int | None:
    """The memory that a call needs in addition to its arguments, including results; None if unknown.

    On JAX it is reported by the compiled program. On PyTorch it is measured, on Linux, and so it is on TensorFlow with
    `TF_ENABLE_ONEDNN_OPTS=0`; oneDNN does not release its memory.
    """
    if BACKEND == "jax":
        memory = function.lower(*arguments).compile().memory_analysis()
        return memory.temp_size_in_bytes + memory.output_size_in_bytes
    if BACKEND == "torch":
        import torch

        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            wait(function(*arguments))
            return torch.cuda.max_memory_allocated() - before
    if BACKEND == "tensorflow" and os.environ.get("TF_ENABLE_ONEDNN_OPTS") != "0":
        return None
    # The first call compiles.
    wait(function(*arguments))
    return peak_bytes_of_the_process(function, *arguments)


def peak_bytes_of_the_process(function, *arguments) -> int | None:
    """How much a call raises the memory of the process; None if the system does not report it."""
    process = Path("/proc/self")
    if not (process / "clear_refs").exists():
        return None
    # Return freed memory to the system, and reset the high-water mark to the current level.
    ctypes.CDLL(None).malloc_trim(0)
    (process / "clear_refs").write_text("5")
    before = _status_bytes(process, "VmHWM")
    wait(function(*arguments))
    return _status_bytes(process, "VmHWM") - before


def _status_bytes(process, name):
    line = next(line for line in (process / "status").read_text().splitlines() if line.startswith(name))
    return 1024 * int(line.split()[1])
