"""Measure times as the minimum of many runs, memory bandwidth, and peak memory."""

import ctypes
import os
import time
from pathlib import Path

import keras
import numpy as np
from cores import usable_cores

BACKEND = keras.backend.backend()


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

        if torch.cuda.is_available():
            torch.cuda.synchronize()


def least_seconds(function, *arguments, budget: float = 4.0) -> float:
    """The shortest of the runs within `budget` seconds, at least three, after one that compiles."""
    wait(function(*arguments))
    times = []
    end = time.perf_counter() + budget
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        wait(function(*arguments))
        times.append(time.perf_counter() - start)
    return min(times)


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
    """Like `copy_bandwidth`, on the backend's device."""
    from keras_griffin.ops.implementation import current_facts

    if current_facts(None, "float32").device == "cpu":
        return copy_bandwidth(num_bytes)
    b, c = (keras.ops.ones(num_bytes // 4, "float32") for _ in range(2))
    return 3 * num_bytes / least_seconds(compiled(lambda b, c: b + c), b, c, budget=1.0)


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
