"""Scans of many blocks, and what the order of work on a device could spoil: repetition, graphs, a second stream.

The cases of `correctness` are small, since float64 is slow: none has a second block of channels.
"""

import keras
import numpy as np
from timing import device, forward_and_backward, has_events

from benchmarks.accelerator.hardware import full_precision, random_tensor
from benchmarks.accelerator.scans import SCANS, Scan
from keras_griffin.ops import explain, linear_scan, use_implementation
from keras_griffin.ops.implementation import current_facts, find_op
from keras_griffin.ops.linear_scan import reference
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close

#: Long enough to be cut along time, with channels that no block divides.
SHAPE = (1, 2048, 515)
#: More than 2^31 elements.
LARGE = (17, 32_768, 4096)
#: Relative errors of float32 between two orders of the same sums of 2,048 steps.
LARGEST_ERROR = 1e-4
#: Cycles for which a stream waits: a hundredth of a second, in which everything else would be ahead of it.
WAIT = 20_000_000


def run(record):
    """Check them, and what only a CUDA device shows."""
    shape = (2, 65, 17) if device() == "cpu" else SHAPE
    with full_precision():
        for scan in SCANS:
            others = other_implementations(scan.name, shape)
            if others:
                record.check(scan.name, f"{shape} against {others[0]}", agrees, scan, shape, others[0])
            else:
                record.note(f"{scan.name} has one implementation here: not compared with another.")
            record.check(scan.name, "bits of two runs", repeated, scan, shape)
        if not has_events():
            record.note("CUDA graphs, a second stream and more than 2^31 elements need PyTorch on a GPU: not checked.")
            return
        check_on_cuda(record)


def other_implementations(name: str, shape) -> list[str]:
    """The implementations of an op that serve here but are not chosen, the portable one first."""
    op, facts, chosen = find_op(name), current_facts(shape, "float32"), explain(name, shape).chosen
    names = [row.name for row in op.serving(facts) if not row.needs_values]
    return sorted(set(names) - {chosen}, key=lambda other: (other != "portable", other))


def agrees(scan: Scan, shape, other: str):
    """Fail unless the results and gradients are those of another implementation."""
    tensors = random_tensor(shape), *scan.arguments(shape, "float32")
    ours = scan.both()(*tensors)
    with use_implementation(scan.name, other):
        theirs = scan.both()(*tensors)
    for one, other in zip(keras.tree.flatten(ours), keras.tree.flatten(theirs), strict=True):
        one, other = as_array(one), as_array(other)
        # Rounding errors are those of the largest numbers.
        error = np.max(np.abs(one - other)) / np.max(np.abs(other))
        if not error < LARGEST_ERROR:
            raise AssertionError(f"agrees: the relative error must be below {LARGEST_ERROR:.0e}. Got {error:.1e}.")
    return explain(scan.name, shape).chosen


def repeated(scan, shape):
    """Fail unless a second run has the same bits."""
    both, tensors = scan.both(), (random_tensor(shape), *scan.arguments(shape, "float32"))
    same_bits(both(*tensors), both(*tensors))


def same_bits(results, others):
    """Fail unless two structures of tensors are equal, bit for bit."""
    for i, pair in enumerate(zip(keras.tree.flatten(results), keras.tree.flatten(others), strict=True)):
        one, other = map(as_array, pair)
        if one.tobytes() != other.tobytes():
            raise AssertionError(f"same_bits: result {i} must be equal. Got {np.sum(one != other)} that differ.")


def check_on_cuda(record):
    """Graphs, a second stream, and a large array, on PyTorch."""
    for scan in SCANS:
        for dtype in ("float32", "bfloat16"):
            record.check(scan.name, f"CUDA graph, {dtype}", captured, scan, dtype)
            record.check(scan.name, f"second stream, {dtype}", on_a_second_stream, scan, dtype)
    import torch

    free = torch.cuda.mem_get_info()[0]
    needed = 2 * 7 * int(np.prod(LARGE))
    if free < needed:
        record.note(f"{LARGE} needs {needed / 1e9:.0f} GB, and {free / 1e9:.0f} are free: not checked.")
        return
    record.check("linear_scan", f"{LARGE}, bfloat16", of_more_than_an_int32)


def captured(scan, dtype, shape=SHAPE):
    """Fail unless a replayed graph computes from new values what the op computes from them."""
    import torch

    both = forward_and_backward(scan.states)
    fixed, others = ((random_tensor(shape, dtype), *scan.arguments(shape, dtype)) for _ in range(2))
    expected = both(*others)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        # What is compiled or allocated once must not be captured.
        for _ in range(3):
            both(*fixed)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = both(*fixed)
    for tensor, values in zip(fixed, others, strict=True):
        tensor.copy_(values)
    graph.replay()
    same_bits(results, expected)


def on_a_second_stream(scan, dtype, shape=SHAPE):
    """Fail unless the op waits for what its own stream computes before it."""
    import torch

    both = forward_and_backward(scan.states)
    tensors = random_tensor(shape, dtype), *scan.arguments(shape, dtype)
    expected = both(*tensors)
    late = [torch.full_like(tensor, 0.25) for tensor in tensors]
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        torch.cuda._sleep(WAIT)
        for tensor, values in zip(late, tensors, strict=True):
            tensor.copy_(values)
        results = both(*late)
    torch.cuda.current_stream().wait_stream(stream)
    same_bits(results, expected)


def of_more_than_an_int32():
    """Fail unless the last channels of the last row, and their gradients, are right."""
    import torch

    decay, inputs, gradient = (torch.empty(LARGE, dtype=torch.bfloat16, device="cuda") for _ in range(3))
    decay.uniform_(0.5, 0.99), inputs.normal_(), gradient.normal_()
    states, gradients = forward_and_backward(lambda *x: linear_scan(*x)[0])(gradient, decay, inputs)
    end = np.s_[-1:, :, -3:]
    decay, inputs, gradient = (as_array(x[end]).astype("float64") for x in (decay, inputs, gradient))
    expected, final = reference.definition(decay, inputs)
    assert_close(states[end], expected)
    wanted = reference.linear_scan_gradient(decay, inputs, None, gradient, np.zeros_like(final))
    for result, right in zip(gradients, wanted, strict=False):
        assert_close(result[end], right)
