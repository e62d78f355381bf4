"""Every implementation of every op that this machine can run, relative to memory bandwidth, and compared with peers.

    KERAS_BACKEND=jax python benchmarks/kernels.py [OP ...]

The calls are those in each op's `cases.py` for this device. For a memory-bound call, the tables show the achieved
bandwidth as a share of that of `a = b + c` in the same run, and on a GPU or a TPU of a copy of 1 GiB. A share above one
means that a cache helped. A peer is measured if its package can be imported.
"""

import sys
import time

import keras
import numpy as np
from peers import peers
from timing import (
    BACKEND,
    compiled,
    device,
    device_bandwidth,
    forward_and_backward,
    kernel_seconds,
    peak_bytes,
    wait,
)

from keras_griffin.ops import use_implementation
from keras_griffin.ops.implementation import Op, current_facts, find_op

DEVICE = device()
#: Seconds to repeat each measurement.
BUDGET = 1.0


def first_call(function, *arguments):
    """Seconds of a call that compiles."""
    start = time.perf_counter()
    wait(function(*arguments))
    return time.perf_counter() - start


def measured(function, arguments, gradient):
    """Seconds of the first call, forward, and forward and backward; and the peak memory of the latter."""
    forward, both = compiled(function), compiled(forward_and_backward(function))
    compilation = first_call(both, gradient, *arguments)
    times = [
        kernel_seconds(forward, *arguments, budget=BUDGET).least,
        kernel_seconds(both, gradient, *arguments, budget=BUDGET).least,
    ]
    return compilation, *times, peak_bytes(both, gradient, *arguments)


def rows(op, case):
    """Measure a call of each differentiable implementation, and of each peer."""
    arguments = [keras.ops.convert_to_tensor(x.values.astype("float32"), x.dtype) for x in case.arguments()]
    shape = case.call(*arguments)[0].shape
    draw = np.random.default_rng(0).normal(size=tuple(shape)).astype("float32")
    gradient = keras.ops.convert_to_tensor(draw, case.result_dtypes[0])
    for row in op.implementations:
        facts = current_facts(case.shape, case.dtype)
        if row.needs_values or op.rejection(row, facts) is not None:
            continue
        with use_implementation(op.name, row.name):
            yield row.name, measured(lambda *x: case.call(*x)[0], arguments, gradient)
    for name, peer in peers(op.name).items():
        if peer.is_installed and peer.serves(case):
            yield name, measured(peer.function(case.shape), peer.arguments(*arguments), peer.gradient(gradient))


def table(op):
    """Print a row for each call and each implementation of an op."""
    columns = "implementation | first call s | forward ms | both ms | forward share | both share | MB"
    print(f"\n| {op.name} | {columns} |\n|---|---|---|---|---|---|---|---|")
    for case in op.cases.timed(DEVICE):
        array = int(np.prod(case.shape)) * (4 if case.dtype == "float32" else 2)
        bandwidth = None if case.moved is None else device_bandwidth(array)
        for name, (compilation, forward, both, peak) in rows(op, case):
            shares = "| "
            if case.moved is not None:
                shares = " | ".join(
                    f"{n * array / (t * bandwidth):.2f}" for n, t in zip(case.moved, (forward, both), strict=True)
                )
            times = f"{compilation:.2f} | {1e3 * forward:.2f} | {1e3 * both:.2f}"
            print(f"| {case} | {name} | {times} | {shares} | {megabytes(peak)} |", flush=True)


def main():
    """Print the tables of the active backend, for all ops or those on the command line."""
    print(f"\n### Kernels on {BACKEND}")
    for op in map(find_op, sys.argv[1:] or Op.registry):
        table(op)


def megabytes(peak):
    """A peak in megabytes as text."""
    return "not measured" if peak is None else f"{peak / 2**20:.0f}"


if __name__ == "__main__":
    main()
