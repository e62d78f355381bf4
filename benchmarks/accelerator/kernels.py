"""Kernels against a copy of memory in the same run, and beside those of other packages.

A share is of the bandwidth of a copy of 1 GiB, for the arrays that a call must move; a share above one means that a
cache helped. A peer's time is without what its own models would never compute: see `peers.py`.
"""

import numpy as np
from peers import peers
from timing import clock, compiled, device_bandwidth, forward_and_backward, kernel_seconds

from benchmarks.accelerator import windows
from benchmarks.accelerator.hardware import is_small, random_tensor
from benchmarks.accelerator.scans import SCANS
from keras_griffin.ops import explain, use_implementation
from keras_griffin.ops.implementation import current_facts, find_op

LARGE = (1, 2048, 2560), (1, 8192, 2560), (8, 2048, 2560), (8, 4096, 4096)
SMALL = (4, 64, 96), (1, 256, 128)
DTYPES = {"float32": 4, "bfloat16": 2}
#: Seconds for each measurement on a CPU.
BUDGET = 0.1


def run(record):
    """Measure the most used scans, then attention, then the other scans, then what is slow."""
    shapes = (SMALL if is_small(record) else LARGE)[: 1 if record.quick else None]
    record.note(f"Times: {clock()}. least is the shortest call, median the middle one.")
    of_scans(record, SCANS[:2], shapes)
    windows.run(record)
    of_scans(record, SCANS[2:], shapes)
    for scan in SCANS:
        every_row(record, scan, shapes[0])
    others(record, SCANS[0], shapes[:1], are_loops=True)


def of_scans(record, scans, shapes):
    """Rows of the chosen implementations, and of the peers of `linear_scan`."""
    for has_marks in (False, True):
        for scan in scans:
            for dtype in DTYPES:
                for shape in shapes:
                    ours(record, scan, shape, dtype, has_marks)
            if scan.name == "linear_scan" and not has_marks:
                others(record, scan, shapes, are_loops=False)


def ours(record, scan, shape, dtype, has_marks):
    """A row of the chosen implementation."""
    chosen = explain(scan.name, shape, dtype).chosen
    marks = marks_of(shape) if has_marks else {}
    named = {"implementation": chosen, "shape": str(shape), "dtype": dtype, "reset and mask": has_marks}
    record.tried(scan.name, of_scan, scan, shape, dtype, marks, **named)


def every_row(record, scan, shape):
    """Rows of the other implementations that serve here, at one shape."""
    op, facts = find_op(scan.name), current_facts(shape, "float32")
    for row in op.serving(facts):
        if not row.needs_values and row.name != explain(scan.name, shape).chosen:
            with use_implementation(scan.name, row.name):
                named = {"implementation": row.name, "shape": str(shape), "dtype": "float32", "reset and mask": False}
                record.tried(scan.name, of_scan, scan, shape, "float32", {}, **named)


def marks_of(shape):
    """A reset at about every hundredth step, and one step of ten masked, as tensors on the device."""
    draws = random_tensor((2, *shape[:2]), "float32", 0.0, 1.0)
    return {"reset": draws[0] < 0.01, "mask": draws[1] < 0.9}


def of_scan(scan, shape, dtype, marks):
    """The cells of a scan's times."""
    tensors, gradient = scan.arguments(shape, dtype), random_tensor(shape, dtype)
    return measured(lambda *x: scan.states(*x, **marks), tensors, gradient, scan.moved, DTYPES[dtype])


def others(record, scan, shapes, are_loops):
    """Rows of the peers that are Python loops over time, or of those that are not."""
    for name, peer in peers(scan.name).items():
        if peer.is_loop != are_loops:
            continue
        named = {"implementation": name, "reset and mask": False}
        if not peer.is_installed:
            record.row(scan.name, **named, remark=f"{peer.package} is not installed: not measured")
            continue
        for dtype in DTYPES:
            for shape in shapes:
                cells = {**named, "shape": str(shape), "dtype": dtype}
                record.tried(scan.name, of_peer, scan, peer, shape, dtype, **cells)


def of_peer(scan, peer, shape, dtype):
    """The cells of a peer's times."""
    tensors, gradient = peer.arguments(*scan.arguments(shape, dtype)), peer.gradient(random_tensor(shape, dtype))
    return measured(peer.function(shape), tensors, gradient, scan.moved, DTYPES[dtype])


def measured(function, tensors, gradient, moved, item_bytes):
    """Milliseconds forward, and forward with the gradient, and the shares of a copy's bandwidth."""
    forward = kernel_seconds(compiled(function), *tensors, budget=BUDGET)
    both = kernel_seconds(compiled(forward_and_backward(function)), gradient, *tensors, budget=BUDGET)
    num_bytes = item_bytes * int(np.prod(gradient.shape))
    bandwidth = device_bandwidth(num_bytes)
    cells = {}
    for name, times, arrays in (("forward", forward, moved[0]), ("with gradient", both, moved[1])):
        cells[f"{name}, least ms"], cells[f"{name}, median ms"] = 1e3 * times.least, 1e3 * times.median
        cells[f"{name}, share"] = arrays * num_bytes / (times.least * bandwidth)
    if forward.waits or both.waits:
        cells["remark"] = "the device may have waited for launches"
    return cells
