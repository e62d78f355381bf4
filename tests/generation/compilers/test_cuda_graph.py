"""The capture of a function as a CUDA graph, with an emulation on the CPU of what `torch.cuda` does."""

import contextlib
import gc
import itertools
import types
import weakref

import keras
import numpy as np
import pytest

if keras.backend.backend() != "torch":
    pytest.skip("PyTorch alone captures graphs", allow_module_level=True)

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from keras_griffin.generation.compilers import torch_cuda_graph
from keras_griffin.generation.compilers.torch_cuda_graph import captured
from keras_griffin.generation.compilers.torch_recording import record
from keras_griffin.models import Griffin, GriffinConfig


class Stream:
    """A stream that only counts how often it waits for an event."""

    waits = 0

    def wait_stream(self, stream):
        pass

    def wait_event(self, event):
        self.waits += event.is_recorded


class Event:
    is_recorded = False

    def record(self, stream):
        self.is_recorded = True


class Graph:
    """Repeats operations in the memory that they had in the capture, like a GPU."""

    def __init__(self):
        self.operations = []

    def replay(self):
        for operation, arguments, options, results in self.operations:
            made = operation(*arguments, **options)
            if operation._schema.is_mutable:
                continue
            for one, other in zip(leaves(results), leaves(made), strict=True):
                if isinstance(one, torch.Tensor) and one.data_ptr() != other.data_ptr():
                    one.copy_(other)


class Capture(TorchDispatchMode):
    def __init__(self, graph, stream, capture_error_mode):
        super().__init__()
        self.graph, self.stream = graph, stream

    def __enter__(self):
        self.before = torch_cuda_graph.cuda.current_stream()
        torch_cuda_graph.cuda.set_stream(self.stream)
        return super().__enter__()

    def __exit__(self, kind, error, trace):
        # PyTorch leaves a failed capture in its stream.
        if error is None:
            torch_cuda_graph.cuda.set_stream(self.before)
        return super().__exit__(kind, error, trace)

    def __torch_dispatch__(self, operation, kinds, arguments=(), options=None):
        if operation is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("operation not permitted when stream is capturing\nCUDA kernel errors might be ...")
        results = operation(*arguments, **(options or {}))
        self.graph.operations.append((operation, arguments, options or {}, results))
        return results


def leaves(results):
    return results if isinstance(results, (list, tuple)) else [results]


@pytest.fixture
def gpu(monkeypatch):
    """Tensors on the CPU count as being on a GPU; the fixture's value is the stream of all threads."""
    stream = Stream()
    streams = [stream]
    emulated = types.SimpleNamespace(
        Stream=Stream,
        Event=Event,
        CUDAGraph=Graph,
        graph=Capture,
        stream=contextlib.nullcontext,
        device=contextlib.nullcontext,
        current_stream=lambda: streams[-1],
        set_stream=streams.append,
    )
    monkeypatch.setattr(torch_cuda_graph, "cuda", emulated)
    monkeypatch.setattr(torch_cuda_graph, "_are_on_one_gpu", lambda tensors: True)
    return stream


def example(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(3, 4, generator=generator), torch.randn(4, generator=generator), torch.tensor(seed)]


WEIGHT = torch.ones(4)
NUMBERS = itertools.count()


def function(x, y, n):
    """Views, changes in place, an input as it is, and a tensor from elsewhere."""
    z = x.clone()
    z.index_add_(0, n[None], (y * WEIGHT)[None])
    return [z.T[1:3], z.sum(), y, n + 1]


def test_tensors_that_are_not_on_a_gpu_are_left_to_the_function():
    assert captured(function, example()) is function


@pytest.mark.parametrize("through", [lambda run, inputs: run, record])
def test_a_graph_repeats_the_function_on_other_tensors(gpu, through):
    with torch.no_grad():
        graph = captured(through(function, example()), example())
        assert graph is not function
        calls = [(example(seed), graph(*example(seed))) for seed in range(3)]
        # No result is the memory of a later one.
        for inputs, results in calls:
            for one, other in zip(results, function(*inputs), strict=True):
                assert torch.equal(one, other)
        try:
            WEIGHT.mul_(2)
            assert torch.equal(graph(*example())[0], function(*example())[0])
        finally:
            WEIGHT.fill_(1)
    # The check at the capture, three calls and this one: each but the first waits for the one before it.
    assert gpu.waits == 4


@pytest.mark.parametrize(
    ("unfit", "why"),
    [
        (lambda x, y, n: [x * float(y[0])], "RuntimeError: operation not permitted when stream is capturing"),
        (lambda x, y, n: [x + next(NUMBERS)], "AssertionError: Tensor-likes are not close!"),
        (lambda x, y, n: [x * torch.rand(4)], "AssertionError: Tensor-likes are not close!"),
    ],
)
def test_what_no_graph_repeats_is_not_captured_and_a_warning_says_so(gpu, unfit, why):
    with pytest.warns(RuntimeWarning, match=f"^generate: a step must be captured .* because of {why}"):
        assert captured(unfit, example()) is unfit
    assert torch_cuda_graph.cuda.current_stream() is gpu


def test_a_graph_keeps_the_constants_that_its_kernels_read(gpu):
    run = record(lambda x, y, n: [x * torch.arange(4.0)], example())
    alive = weakref.ref(run)
    graph = captured(run, example())
    del run
    gc.collect()
    assert alive() is not None and graph is not alive()


def test_generate_gives_the_same_tokens(gpu, monkeypatch):
    config = GriffinConfig(vocabulary_size=16, width=16, num_layers=3, num_heads=2, window=4)
    model, eager = Griffin(config), Griffin(config)
    eager.set_weights(model.get_weights())
    graphs = []

    def noted(run, inputs):
        graphs.append(captured(run, inputs))
        return graphs[-1]

    monkeypatch.setattr("keras_griffin.generation.compilers.torch_compile.captured", noted)
    made = model.generate([[3, 1, 4], [1, 5, 9]], 12)
    assert [type(graph).__name__ for graph in graphs] == ["_Graph"]
    monkeypatch.setattr("keras_griffin.generation.compilers.torch_compile.RECORD_AFTER", 99)
    np.testing.assert_array_equal(made, eager.generate([[3, 1, 4], [1, 5, 9]], 12))
    assert len(graphs) == 1
