"""What the order of work on a device could spoil: repetition, CUDA graphs, a second stream; and offsets above 2^31."""

import keras
import numpy as np
from timing import device, forward_and_backward

from benchmarks.accelerator.hardware import random_tensor
from benchmarks.accelerator.scans import SCANS
from keras_griffin.ops import linear_scan
from keras_griffin.ops.linear_scan import reference
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close

#: Long enough to be cut along time, with channels that no block divides.
SHAPE = (1, 2048, 515)
#: More than 2^31 elements.
LARGE = (17, 32_768, 4096)
#: Cycles for which a stream waits: a hundredth of a second, in which everything else would be ahead of it.
WAIT = 20_000_000


def check_repeated(record):
    """Check that two runs of a scan and its gradient have the same bits."""
    shape = (2, 65, 17) if device() == "cpu" else SHAPE
    for scan in SCANS:
        record.check(scan.name, "bits of two runs", repeated, scan, shape)


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
