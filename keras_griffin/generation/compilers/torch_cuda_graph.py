"""A function of tensors on a GPU as a CUDA graph: all of its kernels in one launch.

A decoding step is hundreds of kernels, most of which take less time than their launch from Python or TorchScript.
"""

import contextlib
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, cuda

#: A function of tensors that returns a sequence of tensors.
Function = Callable[..., Sequence[Tensor]]
#: Calls before the capture, in which kernels are compiled and libraries allocate what they keep.
WARM_UP = 3


def captured(run: Function, inputs: Sequence[Tensor]) -> Function:
    """`run`, called a few times, as a CUDA graph for such inputs; `run` itself if they are not on one GPU.

    Whatever `run` decides or computes on the CPU is fixed. Tensors from elsewhere, such as weights, are read where they
    are at every call. If no graph can be captured, or if it does not give what `run` gives, this warns.
    """
    if not _are_on_one_gpu(inputs):
        return run
    try:
        graph = _Graph(run, inputs)
        for ours, theirs in zip(graph(*inputs), run(*inputs), strict=True):
            torch.testing.assert_close(ours, theirs, equal_nan=True)
    except (RuntimeError, AssertionError) as error:
        warnings.warn(
            f"generate: a step must be captured as a CUDA graph to be fast on a GPU. Each kernel is launched, because "
            f"of {type(error).__name__}: {str(error).strip().splitlines()[0]}",
            RuntimeWarning,
            stacklevel=2,
        )
        return run
    return graph


def _are_on_one_gpu(tensors):
    return len({tensor.device for tensor in tensors}) == 1 and tensors[0].is_cuda


class _Graph:
    """The kernels of a function's call, which read and write the same memory at every replay.

    So inputs are copied to where the kernels read them, and results from where they write them. Threads take turns.
    """

    def __init__(self, run, inputs):
        self._lock = threading.Lock()
        self._device = inputs[0].device
        # The kernels read what the function holds, such as its constants, at every replay.
        self._run = run
        self._graph = cuda.CUDAGraph()
        # A tensor of inference mode could not be written to outside of it.
        with cuda.device(self._device), torch.inference_mode(False), torch.no_grad():
            self._inputs = [tensor.clone() for tensor in inputs]
            # ROCm's libraries allocate for each stream, so the warm-up has that of the capture.
            stream = cuda.Stream()
            stream.wait_stream(cuda.current_stream())
            with cuda.stream(stream):
                for _ in range(WARM_UP):
                    run(*self._inputs)
            cuda.current_stream().wait_stream(stream)
            # Other threads may allocate meanwhile.
            with (
                _back_in_the_same_stream(),
                _own_workspaces(),
                cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"),
            ):
                self._outputs = list(run(*self._inputs))
            self._done = cuda.Event()

    def __call__(self, *inputs):
        with self._lock, cuda.device(self._device):
            stream = cuda.current_stream()
            # The last call may have been in another stream.
            stream.wait_event(self._done)
            _copy(inputs, self._inputs)
            self._graph.replay()
            results = [torch.empty_like(tensor) for tensor in self._outputs]
            _copy(self._outputs, results)
            self._done.record(stream)
        return tuple(results)


def _copy(tensors, others):
    """Write tensors into others, those of one dtype in one launch."""
    by_dtype: dict[torch.dtype, tuple[list, list]] = {}
    for tensor, other in zip(tensors, others, strict=True):
        sources, targets = by_dtype.setdefault(tensor.dtype, ([], []))
        sources.append(tensor)
        targets.append(other)
    for sources, targets in by_dtype.values():
        torch._foreach_copy_(targets, sources)


@contextlib.contextmanager
def _back_in_the_same_stream() -> Iterator[None]:
    """A `with` block that ends in its stream, which PyTorch leaves if a capture fails."""
    stream = cuda.current_stream()
    try:
        yield
    finally:
        cuda.set_stream(stream)


@contextlib.contextmanager
def _own_workspaces() -> Iterator[None]:
    """A capture whose products have their workspace in the memory of the graph."""
    # An earlier workspace would be shared with other graphs of the stream, and freed with the first of them.
    clear = getattr(torch._C, "_cuda_clearCublasWorkspaces", lambda: None)
    clear()
    try:
        yield
    finally:
        clear()
