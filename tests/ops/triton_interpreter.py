"""Kernels run by Triton's interpreter, as if there were a GPU: in a process of its own, which can't compile any."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from triton.runtime.interpreter import InterpretedFunction

from keras_griffin.backends import torch_backend

ROOT = Path(__file__).resolve().parent.parent.parent
#: Multiprocessors of a GPU on which every sequence is one piece, and of one on which all are cut.
WHOLE, CUT = 0, 1000
#: Numbers before and after an array in `surround`: more than a group of rows.
MARGIN = 200
#: Lengths for groups of four rows and pieces of eight: a part of a group, a group, one more; pieces, the last short.
LENGTHS = [2, 3, 4, 5, 8, 9, 21]


def run_tests(path: str):
    """Run a file of tests below the interpreter."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(ROOT / path)]
    environment = {**os.environ, "TRITON_INTERPRET": "1", "KERAS_BACKEND": "torch"}
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert run.returncode == 0, run.stdout + run.stderr


def pretend(monkeypatch, device="gpu"):
    """Let the choice of a kernel see a GPU for CUDA."""
    monkeypatch.setattr(torch_backend, "device_kind", lambda: device)
    monkeypatch.setattr(torch.version, "cuda", "13.0")


@pytest.fixture
def interpreted(monkeypatch):
    """A function that prepares a run: modules that launch, how many multiprocessors, and the shortest piece.

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

    def prepare(modules, multiprocessors, shortest=8, lanes=32):
        scan = modules[0]
        monkeypatch.setattr(scan, "chip", lambda device: (multiprocessors, lanes))
        monkeypatch.setattr(scan, "SHORTEST_PIECE", shortest)
        for module in modules:
            monkeypatch.setattr(module, "empty", empty)

    def empty(array, shape=None):
        return torch.full(array.shape if shape is None else shape, np.nan, dtype=array.dtype)

    return prepare


def surround(monkeypatch, modules):
    """Put NaN before and after every array that a kernel reads or writes; returns a check that nothing wrote there."""
    buffers = []

    def surrounded(tensor):
        buffer = torch.full((tensor.numel() + 2 * MARGIN,), np.nan, dtype=tensor.dtype)
        buffers.append(buffer)
        inner = buffer[MARGIN:-MARGIN].view(tensor.shape)
        return inner.copy_(tensor)

    def empty(array, shape=None):
        return surrounded(torch.full(array.shape if shape is None else shape, np.nan, dtype=array.dtype))

    for module in modules:
        monkeypatch.setattr(module, "empty", empty)
        monkeypatch.setattr(module, "in_order", lambda tensors: tuple(map(surrounded, tensors)))

    def check():
        assert buffers and all(torch.isnan(end).all() for x in buffers for end in (x[:MARGIN], x[-MARGIN:]))

    return check
