"""Run what generation runs again and again, on PyTorch, without recording gradients.

A decoding step is a thousand small operations, and finding them through Keras takes ten times as long as running them.
So a step that is called often with one set of shapes is recorded once, as the operations on tensors that it is made of,
and then replayed; one that is called very often is recorded again for PyTorch's Inductor, which compiles it. Each is
done when about as much time has been spent without it as it costs.
"""

import importlib.util
import os
import shutil
import weakref

import keras
import torch
from torch.fx.experimental.proxy_tensor import make_fx

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
        return function(reference(), state, *arguments)

    return run


def record_for_model(function, model):
    """As `compile_for_model`, recorded and compiled for each set of shapes and dtypes with which it is called often.

    What is recorded reads the weights' tensors at every call, and knows nothing of the model.
    """
    reference = weakref.ref(model)
    by_kinds = {}

    @torch.no_grad()
    def run(*arguments):
        leaves = [x if torch.is_tensor(x) else keras.ops.convert_to_tensor(x) for x in _flat(arguments)]
        # What is compiled takes no other strides.
        leaves = [leaf.contiguous() for leaf in leaves]
        kinds = tuple([(leaf.shape, leaf.dtype) for leaf in leaves])
        if kinds not in by_kinds:
            by_kinds[kinds] = _Tiers(lambda *given: function(reference(), *given), arguments)
        return by_kinds[kinds](leaves)

    return run


class _Tiers:
    """A function of tensors of fixed shapes and dtypes, which becomes faster as it is called."""

    def __init__(self, function, arguments):
        self.function = function
        self.structure = _packed(arguments, iter([None] * len(_flat(arguments))))
        self.calls = 0
        self.graph = self.results = None

    def __call__(self, leaves):
        self.calls += 1
        if self.calls <= RECORD_AFTER:
            return self.function(*_packed(self.structure, iter(leaves)))
        if self.graph is None:
            self.graph = make_fx(self._on_leaves)(*leaves)
        elif self.calls > COMPILE_AFTER and isinstance(self.graph, torch.fx.GraphModule) and can_compile(leaves[0]):
            graph = make_fx(self._on_leaves, decomposition_table=ONE_ROW_AS_SUM)(*leaves)
            # Not `torch.compile`, whose guards would look at every tensor before every step.
            from torch._inductor import compile as compile_graph

            self.graph = compile_graph(graph, leaves)
        return _packed(self.results, iter(self.graph(*leaves)))

    def _on_leaves(self, *leaves):
        results = self.function(*_packed(self.structure, iter(leaves)))
        leaves = _flat(results)
        self.results = _packed(results, iter([None] * len(leaves)))
        return [leaf.contiguous() for leaf in leaves]


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
    return structure._make(parts) if hasattr(structure, "_fields") else tuple(parts)


def can_compile(tensor: torch.Tensor) -> bool:
    """Whether Inductor finds what it compiles with: a C++ compiler for a CPU, Triton for a GPU."""
    if tensor.device.type == "cpu":
        return shutil.which(os.environ.get("CXX", "g++")) is not None
    return importlib.util.find_spec("triton") is not None
