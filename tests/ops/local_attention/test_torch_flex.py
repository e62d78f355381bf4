"""The blocks that the kernel visits, its compilation, and its shared memory."""

from dataclasses import replace

import keras
import numpy as np
import pytest

if keras.backend.backend() != "torch":
    pytest.skip("PyTorch's own modes", allow_module_level=True)

import torch

from keras_griffin.ops import local_attention, use_implementation
from keras_griffin.ops.implementation import Facts, find_op
from keras_griffin.ops.local_attention import torch_flex
from keras_griffin.ops.local_attention.cases import PLAIN, with_marks
from keras_griffin.testing.closeness import assert_close
from tests.ops.rows import pretend


@pytest.mark.parametrize("marked", [False, True])
@pytest.mark.parametrize(
    ("length", "span", "window"),
    [(1, 1, 1), (1, 300, 300), (128, 128, 128), (300, 300, 129), (300, 300, 255), (257, 700, 450), (513, 640, 2)],
)
def test_blocks_are_visited_where_a_query_sees_a_key(length, span, window, marked):
    blocks = torch_flex.blocks_of(length, span, torch.tensor(window), torch.tensor(span - length), marked, "cpu")
    rows, columns = -(-length // 128), -(-span // 128)
    distance = np.arange(128 * rows)[:, None] + span - length - np.arange(128 * columns)
    visible = ((distance >= 0) & (distance < window)).reshape(rows, 128, columns, 128)
    # Queries and keys past the end are neither visited for their own sake nor spared comparison.
    inside = (np.arange(128 * rows) < length).reshape(rows, 128, 1, 1) & (np.arange(128 * columns) < span).reshape(
        columns, 128
    )
    needed = (visible & inside).any(axis=(1, 3))
    whole = np.zeros_like(needed) if marked else visible.all(axis=(1, 3))
    some = dense(*blocks[:2])
    every = np.zeros_like(some) if marked else dense(*blocks[2:])
    assert len(blocks) == (2 if marked else 4)
    assert not (some & every).any()
    assert (needed <= some | every).all()
    np.testing.assert_array_equal(every, whole)
    # The last queries of the last block may be missing, and what they would see is visited nevertheless.
    np.testing.assert_array_equal((some | every)[:-1], needed[:-1])


def dense(counts, which):
    needed = np.zeros(which.shape[2:], bool)
    for row, count in enumerate(counts[0, 0]):
        needed[row, which[0, 0, row, :count]] = True
    np.testing.assert_array_equal(np.sort(which[0, 0]), np.broadcast_to(np.arange(which.shape[3]), which.shape[2:]))
    return needed


@pytest.mark.parametrize("implementation", ["torch_flex"])
def test_it_is_a_part_of_a_compiled_function(implementation):
    case = with_marks(replace(PLAIN["one block"], channels=16))
    tensors = [torch.tensor(x, dtype=torch.float32) for x in case.seen()]
    marks = {name: torch.tensor(mark) for name, mark in case.marks.items()}
    graphs = []

    def backend(module, _):
        graphs.append(module)
        return module.forward

    def function(*tensors):
        return local_attention(*tensors, case.window, **marks)

    compiled = torch.compile(function, fullgraph=True, backend=backend)
    assert_close(compiled(*tensors), case.definition(*case.seen())[0])
    (graph,) = graphs
    assert "flex_attention" in str(graph.graph)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
def test_compiled_as_it_can_be_on_a_cpu(monkeypatch):
    """PyTorch's kernel for CPUs, forward only, visits blocks by the same plan."""
    op, case = find_op("local_attention"), with_marks(PLAIN["blocks of a kernel"])
    pretend(monkeypatch, op, op._named("torch_flex"))
    torch._dynamo.reset()
    with torch.no_grad():
        (outputs,) = case.call(*(torch.tensor(x, dtype=torch.float32) for x in case.seen()))
    assert_close(outputs, case.definition(*case.seen())[0])


SHAPE = (1, 7, 4, 16)


@pytest.mark.parametrize(
    ("device", "shape", "dtype", "reason"),
    [
        ("gpu", SHAPE, "float32", None),
        ("gpu", None, "bfloat16", None),
        ("cpu", SHAPE, "float32", "needs a GPU"),
        ("gpu", SHAPE, "float64", "computes in float32, bfloat16 and float16"),
        ("gpu", (1, 7, 4, 8), "float32", "needs heads of at least 16 channels"),
    ],
)
def test_what_it_serves(device, shape, dtype, reason, monkeypatch):
    monkeypatch.setattr(torch_flex, "_DEVICES", ("cpu",))
    assert torch_flex.supports(Facts("torch", device, shape, dtype)) == reason


@pytest.mark.parametrize(
    ("channels", "memory", "reason"),
    [
        (128, 65_536, "needs 99 KiB of shared memory for heads of 65 to 256 channels in float32; this GPU has 64"),
        (64, 65_536, None),
        (256, 101_376, None),
    ],
)
def test_wide_heads_need_shared_memory(channels, memory, reason, monkeypatch):
    monkeypatch.setattr(torch_flex, "_DEVICES", ("cpu",))
    monkeypatch.setattr(torch_flex, "shared_memory_of", lambda device: memory)
    assert torch_flex.supports(Facts("torch", "gpu", (1, 7, 4, channels), "float32")) == reason


def test_keras_may_infer_shapes_without_it():
    """Keras does so on PyTorch's device for shapes alone, which looks like a GPU."""
    layer = keras.layers.Lambda(lambda x: local_attention(x, x, x, 7))
    assert layer(keras.Input((None, 2, 16))).shape == (None, None, 2, 16)


def test_asked_for_where_it_cant_run():
    arguments = replace(PLAIN["one block"], channels=16).seen()
    with use_implementation("local_attention", "torch_flex"):
        with pytest.raises(ValueError, match="'torch_flex' must support the call. It needs a GPU"):
            local_attention(*arguments, 7)


#: GPUs, by NVIDIA's number, whose programs get no more: RTX 30, 40 and 50.
LITTLE = 101_376


@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
@pytest.mark.parametrize("capability", [(8, 6), pytest.param((12, 0), marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("kernel", ["flex_attention", "flex_attention_backward"])
def test_wide_heads_fit_small_shared_memories(kernel, dtype, capability):
    pytest.importorskip("triton")
    from tests.ops.flex_compilation import shared_memory

    for channels in (256, 128) if dtype == torch.float32 and kernel == "flex_attention" else (256,):
        options = torch_flex.options_of(dtype, channels, LITTLE)
        assert 0 < shared_memory(*call_of(dtype, options, channels), capability, kernel) <= LITTLE


@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
def test_what_pytorch_would_choose_does_not_fit():
    """The number of pytorch issue 198224; once this fails, the options may no longer be needed."""
    pytest.importorskip("triton")
    from tests.ops.flex_compilation import shared_memory

    assert shared_memory(*call_of(torch.bfloat16, None), (12, 0), "flex_attention_backward") == 114_688


def call_of(dtype, options, channels=256):
    query, key, value = (torch.zeros(1, n, 256, channels, dtype=dtype, requires_grad=True) for n in (4, 1, 1))
    bounds = [torch.tensor(x, dtype=torch.int32) for x in (100, 0)]
    return torch_flex.attend, (query, key, value, *bounds, None, options)


@pytest.mark.parametrize(
    ("channels", "shared_memory", "is_ours"),
    [(256, LITTLE, True), (192, LITTLE, True), (128, LITTLE, False), (256, 166_912, False), (256, 65_536, False)],
)
def test_where_the_blocks_are_ours(channels, shared_memory, is_ours):
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        options = torch_flex.options_of(dtype, channels, shared_memory)
        # In float32 heads of 128 channels need as much as heads of 256 in bfloat16.
        assert (options is not None) == (is_ours or (channels == 128 and dtype == torch.float32))
        assert all(128 % size == 0 for name, size in (options or {}).items() if "BLOCK" in name)


def test_the_shared_memory_is_that_of_the_gpu(monkeypatch):
    properties = type("Properties", (), {"shared_memory_per_block_optin": LITTLE})
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    assert torch_flex.shared_memory_of(torch.device("cuda")) == LITTLE
    assert torch_flex.shared_memory_of(torch.device("cpu")) == 0
