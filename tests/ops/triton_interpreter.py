"""Kernels run by Triton's interpreter, as if there were a GPU: in a process of its own, which can't compile any."""

import os
import subprocess
import sys
import types
from importlib.machinery import ModuleSpec
from pathlib import Path

import keras
import numpy as np
import pytest
import torch
from triton.runtime.interpreter import InterpretedFunction

from keras_griffin import backends
from keras_griffin.ops.recurrence.kernels import torch_triton_launch, triton_passes

ROOT = Path(__file__).resolve().parent.parent.parent
#: Multiprocessors of a GPU on which every sequence is one piece, and of one on which all are cut.
WHOLE, CUT = 0, 1000
#: Integers of so many bytes.
BYTES = {1: torch.uint8, 2: torch.int16, 4: torch.int32}
#: Numbers before and after an array in `surround`: more than a group of rows.
MARGIN = 200
#: Lengths for groups of four rows and pieces of eight: a part of a group, a group, one more; pieces, the last short.
LENGTHS = [2, 3, 4, 5, 8, 9, 21]


def run_tests(path: str, *options: str):
    """Run a file of tests below the interpreter, on the active backend."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(ROOT / path), *options]
    environment = {**os.environ, "TRITON_INTERPRET": "1", "KERAS_BACKEND": keras.backend.backend()}
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert run.returncode == 0, run.stdout + run.stderr


def pretend(monkeypatch, device="gpu"):
    """Let the choice of a kernel see a GPU for CUDA."""
    monkeypatch.setattr(backends.active(), "device_kind", lambda: device)
    monkeypatch.setattr(torch.version, "cuda", "13.0")


@pytest.fixture
def interpreted(monkeypatch):
    """A function that prepares a run: for how many multiprocessors, and with which shortest piece.

    What a kernel doesn't write is NaN.
    """
    pretend(monkeypatch)
    # The interpreter prepares Triton's language again wherever one kernel's function calls another, which takes most of
    # the time; the launch has done so for ours.
    slow = InterpretedFunction.__call__

    def call(function, *arguments, **options):
        ours = function.fn.__module__.startswith("keras_griffin")
        return function.rewrite()(*arguments, **options) if ours else slow(function, *arguments, **options)

    monkeypatch.setattr(InterpretedFunction, "__call__", call)

    launch = backends.imported(f"keras_griffin.ops.recurrence.kernels.{keras.backend.backend()}_triton_launch")
    if keras.backend.backend() == "torch":
        monkeypatch.setattr(launch, "empty", empty)
    else:
        monkeypatch.setitem(sys.modules, "jax_triton", stand_in("jax_triton"))

    def prepare(multiprocessors, shortest=8, lanes=32):
        monkeypatch.setattr(launch, "chip", lambda array: (multiprocessors, lanes))
        monkeypatch.setattr(triton_passes, "SHORTEST_PIECE", shortest)

    return prepare


def empty(array, shape=None):
    """NaN, where a kernel is to write."""
    return torch.full(array.shape if shape is None else shape, np.nan, dtype=array.dtype)


def stand_in(name):
    """A module in place of jax-triton, whose kernels the interpreter runs."""
    import jax

    def triton_call(*arguments, kernel, grid, out_type, backend_options, **constants):
        def run(*arrays):
            rest = map(tensor_of, arrays)
            given = [x if isinstance(x, int) else next(rest) for x in arguments]
            results = [empty(tensor_of(np.empty(0, like.dtype)), like.shape) for like in out_type]
            kernel[grid](*given, *results, **constants)
            return [x.view(BYTES[x.itemsize]).numpy().view(y.dtype) for x, y in zip(results, out_type, strict=True)]

        return jax.pure_callback(run, out_type, *(x for x in arguments if not isinstance(x, int)))

    def tensor_of(array):
        array = np.array(array)
        if array.dtype.name != "bfloat16":
            return torch.from_numpy(array)
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)

    module = types.ModuleType(name)
    module.__spec__, module.triton_call, module.__version_info__ = ModuleSpec(name, None), triton_call, (0, 4)
    return module


def surround(monkeypatch):
    """Put NaN before and after every array that a kernel reads or writes; returns a check that nothing wrote there."""
    buffers = []

    def surrounded(tensor):
        buffer = torch.full((tensor.numel() + 2 * MARGIN,), np.nan, dtype=tensor.dtype)
        buffers.append(buffer)
        inner = buffer[MARGIN:-MARGIN].view(tensor.shape)
        return inner.copy_(tensor)

    def empty(array, shape=None):
        return surrounded(torch.full(array.shape if shape is None else shape, np.nan, dtype=array.dtype))

    def in_order(value):
        if isinstance(value, tuple):
            return tuple(map(in_order, value))
        is_number = isinstance(value, torch.Tensor) and value.is_floating_point()
        return surrounded(value) if is_number else value

    monkeypatch.setattr(torch_triton_launch, "empty", empty)
    monkeypatch.setattr(torch_triton_launch, "in_order", in_order)

    def check():
        assert buffers and all(torch.isnan(end).all() for x in buffers for end in (x[:MARGIN], x[-MARGIN:]))

    return check
