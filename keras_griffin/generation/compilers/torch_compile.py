"""Run the functions of the generation loop, on PyTorch, without gradients.

A decoding step is a thousand small operations, and dispatching them through Keras takes ten times as long as running
them. So a step that is called again with one set of shapes is recorded and replayed (`torch_recording.py`), and one
that is called very often is compiled by PyTorch's Inductor: each once the time lost without it is about its cost. On a
GPU either is replayed as a CUDA graph (`torch_cuda_graph.py`).
"""

import contextlib
import importlib.util
import itertools
import os
import shutil
import threading
import weakref

import keras
import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode

from keras_griffin.generation.compilers.torch_cuda_graph import captured
from keras_griffin.generation.compilers.torch_one_row import ONE_ROW_AS_SUM
from keras_griffin.generation.compilers.torch_recording import record

#: Calls with one set of shapes before it is recorded, which takes as long as a few calls: a second token usually means
#: a hundred more. And before it is compiled, which takes half a minute and saves a millisecond or two a call.
RECORD_AFTER = 1
COMPILE_AFTER = 2**14
#: For how many sets of shapes a function is recorded, the newest: each holds constants, and on a GPU its tensors.
CACHE_SIZE = 16


def compile_for_model(function, model):
    """`function(model, state, ...)` without its first argument; holds the model weakly."""
    reference = weakref.ref(model)

    # Not `inference_mode`, so that training can continue from a state that generation returned.
    @torch.no_grad()
    def run(state, *arguments):
        with _recorder.kept_waiting():
            return function(reference(), state, *arguments)

    return run


def record_for_model(function, model):
    """Like `compile_for_model`, but recorded and compiled for each set of shapes and dtypes that is used often."""
    reference = weakref.ref(model)
    by_kinds: dict[tuple, _Tiers] = {}

    @torch.no_grad()
    def run(*arguments):
        leaves = [x if torch.is_tensor(x) else keras.ops.convert_to_tensor(x) for x in _flat(arguments)]
        # The compiled function accepts only these strides.
        leaves = [leaf.contiguous() for leaf in leaves]
        kinds = tuple([(leaf.shape, leaf.dtype) for leaf in leaves])
        tiers = by_kinds.get(kinds)
        if tiers is None:
            for oldest in list(by_kinds)[: max(0, len(by_kinds) - CACHE_SIZE + 1)]:
                # Another thread may have removed it.
                by_kinds.pop(oldest, None)
            # Concurrent threads get the same object.
            tiers = by_kinds.setdefault(kinds, _Tiers(lambda *given: function(reference(), *given), arguments))
        return tiers(leaves)

    return run


class _Tiers:
    """A function of tensors of fixed shapes and dtypes, which becomes faster the more it is called."""

    def __init__(self, function, arguments):
        self.function = function
        self.structure = _packed(arguments, iter([None] * len(_flat(arguments))))
        self.calls = itertools.count(1)
        #: The function of leaves, and the structure of its results; None until it is recorded.
        self.ready = None
        self.is_compiled = False

    def __call__(self, leaves):
        call = next(self.calls)
        wants_more = self.ready is None if call <= COMPILE_AFTER else not self.is_compiled and can_compile(leaves[0])
        if call > RECORD_AFTER and wants_more:
            with _recorder.alone() as is_free:
                # Otherwise another thread is at it, and the current version serves meanwhile.
                if is_free:
                    self._become_faster(call, leaves)
        if self.ready is None:
            return self.function(*_packed(self.structure, iter(leaves)))
        run, results = self.ready
        return _packed(results, iter(run(*leaves)))

    def _become_faster(self, call, leaves):
        if self.ready is None:
            self.ready = self._traced(_recorded, leaves)
        elif call > COMPILE_AFTER and not self.is_compiled:
            self.ready = self._traced(_compiled, leaves)
            self.is_compiled = True

    def _traced(self, make, leaves):
        """What `make` returns for the function of leaves, and the structure of the results."""
        found = []

        def on_leaves(*leaves):
            # Here alone: Inductor, which compiles later, reads constants.
            with TensorsAlone("generate: a step"):
                results = self.function(*_packed(self.structure, iter(leaves)))
            flat = _flat(results)
            found.append(_packed(results, iter([None] * len(flat))))
            return [leaf.contiguous() for leaf in flat]

        return make(on_leaves, leaves), found[0]


def _recorded(function, leaves):
    return captured(record(function, leaves), leaves)


def _compiled(function, leaves):
    # Not `torch.compile`, whose guards would check every tensor before every step.
    from torch._inductor import compile as compile_graph

    return captured(compile_graph(make_fx(function, decomposition_table=ONE_ROW_AS_SUM)(*leaves), leaves), leaves)


class _Own(threading.local):
    """Per thread: how deeply its `kept_waiting` blocks are nested."""

    depth = 0


class _Recorder:
    """Lets one thread at a time record; code that may run functions of `torch.compile` waits meanwhile.

    PyTorch traces for one thread at a time: it patches `torch.nn.Module`, and a global flag makes functions of
    `torch.compile` refuse to run in any thread. No lock is held while anything runs, so a sampler is free to do
    anything.
    """

    def __init__(self):
        self._condition = threading.Condition()
        self._thread = None
        #: How many threads are inside `kept_waiting`.
        self._running = 0
        self._own = _Own()

    @contextlib.contextmanager
    def kept_waiting(self):
        """Run the `with` block while no other thread records."""
        depth = self._own.depth
        with self._condition:
            self._condition.wait_for(lambda: depth or self._thread in (None, threading.get_ident()))
            self._running += 1
        self._own.depth = depth + 1
        try:
            yield
        finally:
            self._own.depth = depth
            with self._condition:
                self._running -= 1
                self._condition.notify_all()

    @contextlib.contextmanager
    def alone(self):
        """True if this thread may record in the `with` block; False, without waiting, if another one does."""
        with self._condition:
            is_free = self._thread is None and not self._own.depth
            if is_free:
                self._thread = threading.get_ident()
                self._condition.wait_for(lambda: not self._running)
        try:
            yield is_free
        finally:
            if is_free:
                with self._condition:
                    self._thread = None
                    self._condition.notify_all()


_recorder = _Recorder()


class TensorsAlone(TorchFunctionMode):
    """Refuses to read the values of tensors: what NumPy computes from them would be recorded as constants."""

    _READERS = tuple(
        getattr(torch.Tensor, name)
        for name in ("numpy", "__array__", "tolist", "item", "__bool__", "__int__", "__float__", "__index__")
    )

    def __init__(self, who: str):
        super().__init__()
        self.who = who

    def __torch_function__(self, function, types, arguments=(), options=None):
        """Calls the function, unless it reads values."""
        if function in self._READERS:
            raise ValueError(
                f"{self.who} must compute with tensors alone, as keras.ops do, so that it can be recorded. "
                f"Got values read by {function.__name__}."
            )
        return function(*arguments, **(options or {}))


def _flat(structure) -> list:
    """The leaves of nested tuples, in a tenth of the time that `keras.tree` takes; this runs at every step."""
    if isinstance(structure, tuple):
        return [leaf for part in structure for leaf in _flat(part)]
    return [structure]


def _packed(structure, leaves):
    """Nested tuples like `structure`, with the next leaves of an iterator."""
    if not isinstance(structure, tuple):
        return next(leaves)
    parts = [_packed(part, leaves) for part in structure]
    return getattr(structure, "_make", tuple)(parts)


def can_compile(tensor: torch.Tensor) -> bool:
    """Whether Inductor has its compiler: a C++ compiler for a CPU, Triton for a GPU."""
    if tensor.device.type == "cpu":
        return shutil.which(os.environ.get("CXX", "g++")) is not None
    return importlib.util.find_spec("triton") is not None
