"""Run what generation runs again and again, on PyTorch, without recording gradients.

A decoding step is a thousand small operations, and finding them through Keras takes ten times as long as running them.
So a step that is called often with one set of shapes is recorded once, as the operations on tensors that it is made of,
and then replayed; one that is called very often is recorded again for PyTorch's Inductor, which compiles it. Each is
done when about as much time has been spent without it as it costs.

PyTorch records for one thread at a time: it patches `torch.nn.Module`, and a global flag makes functions of
`torch.compile` refuse to run in any thread. See `_Recorder`.
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

from keras_griffin.generation.torch_one_row import ONE_ROW_AS_SUM

#: Calls with one set of shapes before it is recorded (a second or two), and before it is compiled (half a minute).
RECORD_AFTER = 32
COMPILE_AFTER = 4096


def compile_for_model(function, model):
    """`function(model, state, ...)` without its first argument. The model is held weakly.

    `no_grad` rather than `inference_mode`, so that training may go on from a state that generation returned.
    """
    reference = weakref.ref(model)

    @torch.no_grad()
    def run(state, *arguments):
        with _recorder.kept_waiting():
            return function(reference(), state, *arguments)

    return run


def record_for_model(function, model):
    """As `compile_for_model`, recorded and compiled for each set of shapes and dtypes with which it is called often.

    What is recorded reads the weights' tensors at every call, and knows nothing of the model.
    """
    reference = weakref.ref(model)
    by_kinds: dict[tuple, _Tiers] = {}

    @torch.no_grad()
    def run(*arguments):
        leaves = [x if torch.is_tensor(x) else keras.ops.convert_to_tensor(x) for x in _flat(arguments)]
        # What is compiled takes no other strides.
        leaves = [leaf.contiguous() for leaf in leaves]
        kinds = tuple([(leaf.shape, leaf.dtype) for leaf in leaves])
        tiers = by_kinds.get(kinds)
        if tiers is None:
            # Threads that come together get one and the same.
            tiers = by_kinds.setdefault(kinds, _Tiers(lambda *given: function(reference(), *given), arguments))
        return tiers(leaves)

    return run


class _Tiers:
    """A function of tensors of fixed shapes and dtypes, which becomes faster as it is called.

    A thread that finds another one at work goes on with what there is.
    """

    def __init__(self, function, arguments):
        self.function = function
        self.structure = _packed(arguments, iter([None] * len(_flat(arguments))))
        self.calls = itertools.count(1)
        #: The function of leaves, and the structure of its results; None as long as nothing is recorded.
        self.ready = None
        self.is_compiled = False

    def __call__(self, leaves):
        call = next(self.calls)
        wants_more = self.ready is None if call <= COMPILE_AFTER else not self.is_compiled and can_compile(leaves[0])
        if call > RECORD_AFTER and wants_more:
            with _recorder.alone() as is_free:
                if is_free:
                    self._become_faster(call, leaves)
        if self.ready is None:
            return self.function(*_packed(self.structure, iter(leaves)))
        run, results = self.ready
        return _packed(results, iter(run(*leaves)))

    def _become_faster(self, call, leaves):
        if self.ready is None:
            self.ready = self._recorded(leaves)
        elif call > COMPILE_AFTER and not self.is_compiled:
            graph, results = self._recorded(leaves, decomposition_table=ONE_ROW_AS_SUM)
            # Not `torch.compile`, whose guards would look at every tensor before every step.
            from torch._inductor import compile as compile_graph

            self.ready = compile_graph(graph, leaves), results
            self.is_compiled = True

    def _recorded(self, leaves, **options):
        found = []

        def on_leaves(*leaves):
            results = self.function(*_packed(self.structure, iter(leaves)))
            flat = _flat(results)
            found.append(_packed(results, iter([None] * len(flat))))
            return [leaf.contiguous() for leaf in flat]

        with TensorsAlone("generate: a step"):
            return make_fx(on_leaves, **options)(*leaves), found[0]


class _Own(threading.local):
    """Of one thread: how often it runs, one within another, what is to be kept waiting."""

    depth = 0


class _Recorder:
    """Lets one thread at a time record, and keeps what may run functions of `torch.compile` waiting meanwhile.

    No lock is held while anything runs, so a sampler may do what it likes.
    """

    def __init__(self):
        self._condition = threading.Condition()
        self._thread = None
        #: How many threads run what is to be kept waiting.
        self._running = 0
        self._own = _Own()

    @contextlib.contextmanager
    def kept_waiting(self):
        """Run something beside which nobody records."""
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
        """Record, if this gives True; False, at once, where a thread does already."""
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
    """Refuses to give the values of tensors away: what NumPy makes of them would be recorded as constants.

    Args:
        who: must compute with tensors alone: the beginning of a sentence.
    """

    _READERS = (torch.Tensor.numpy, torch.Tensor.__array__, torch.Tensor.tolist, torch.Tensor.item)

    def __init__(self, who: str):
        super().__init__()
        self.who = who

    def __torch_function__(self, function, types, arguments=(), options=None):
        """Call the function, unless it reads values."""
        if function in self._READERS:
            raise ValueError(
                f"{self.who} must compute with tensors alone, as keras.ops do, so that it can be recorded. "
                f"Got values read by {function.__name__}."
            )
        return function(*arguments, **(options or {}))


def _flat(structure) -> list:
    """The leaves of nested tuples; a tenth of the time that `keras.tree` takes, at every step."""
    if isinstance(structure, tuple):
        return [leaf for part in structure for leaf in _flat(part)]
    return [structure]


def _packed(structure, leaves):
    """Nested tuples like `structure`, of the next leaves of an iterator."""
    if not isinstance(structure, tuple):
        return next(leaves)
    parts = [_packed(part, leaves) for part in structure]
    return getattr(structure, "_make", tuple)(parts)


def can_compile(tensor: torch.Tensor) -> bool:
    """Whether Inductor finds what it compiles with: a C++ compiler for a CPU, Triton for a GPU."""
    if tensor.device.type == "cpu":
        return shutil.which(os.environ.get("CXX", "g++")) is not None
    return importlib.util.find_spec("triton") is not None
