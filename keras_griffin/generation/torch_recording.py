"""A function of tensors as the list of PyTorch's operations in one of its calls, and their replay without the function.

The operations are noted as they run. TorchScript makes a program of the list: its interpreter, in C++, spends a
microsecond on an operation where Python spends several.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map


class _Place(NamedTuple):
    """Stands for a tensor: its place in the list of all of a replay's tensors."""

    place: int


class _Recording(TorchDispatchMode):
    """Notes the operations on tensors that run in the `with` block, but for those that only name known numbers anew."""

    def __init__(self, inputs):
        super().__init__()
        #: Each operation with its arguments and the places of its results.
        self.steps = []
        #: Tensors by place: inputs, then others as they appear. All are kept, so no two share memory by chance.
        self.tensors = list(inputs)
        self.places = {_memory(tensor): place for place, tensor in enumerate(inputs)}
        #: The places of those that are neither inputs nor results, such as weights.
        self.outside = []

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        """Run an operation, and note it."""
        options = options or {}
        noted = tree_map(self.place_of, (arguments, options))
        results = operation(*arguments, **options)
        made = [x for x in tree_iter(results) if isinstance(x, Tensor)]
        if made and not operation._schema.is_mutable and all(_memory(x) in self.places for x in made):
            return results
        places = [self._add(x) if isinstance(x, Tensor) else None for x in tree_iter(results)]
        self.steps.append((operation, *noted, places))
        return results

    def place_of(self, x):
        """The place of a tensor; anything else as it is."""
        if not isinstance(x, Tensor):
            return x
        place = self.places.get(_memory(x))
        if place is None:
            place = self._add(x)
            self.outside.append(place)
        return _Place(place)

    def _add(self, tensor):
        self.tensors.append(tensor)
        self.places[_memory(tensor)] = len(self.tensors) - 1
        return len(self.tensors) - 1


def _memory(tensor):
    """What two tensors have in common if they are the same numbers in the same place. (PyTorch makes new objects.)"""
    place = tensor.untyped_storage().data_ptr(), tensor.storage_offset(), tensor.shape, tensor.stride()
    return *place, tensor.dtype, tensor.is_conj(), tensor.is_neg()


@torch.no_grad()
def record(function: Callable[..., Sequence[Tensor]], inputs: Sequence[Tensor]) -> Callable[..., Sequence[Tensor]]:
    """A function that does to other inputs, of the same shapes and dtypes, what `function` does to these.

    Whatever `function` decides or computes without tensors is fixed. Tensors from elsewhere, such as weights, are read
    at every call. No gradients are recorded.

    Args:
        function: of tensors, which returns a list of tensors; it is called once.
        inputs: an example.

    Returns:
        The function. It must run without gradients.
    """
    # Two inputs that are one tensor here may be two in another call.
    inputs = [tensor.clone() for tensor in inputs]
    with _Recording(inputs) as recording:
        outputs = function(*inputs)
    results = [recording.place_of(output).place for output in outputs]
    outside = [recording.tensors[place] for place in recording.outside]
    first = [*range(len(inputs)), *recording.outside]
    steps, count = recording.steps, len(recording.tensors)

    def replay(*given):
        tensors = [None] * count
        for place, tensor in zip(first, given, strict=True):
            tensors[place] = tensor
        for operation, arguments, options, places in steps:
            arguments, options = tree_map(
                lambda x: tensors[x.place] if isinstance(x, _Place) else x,
                (arguments, options),
                is_leaf=lambda x: isinstance(x, _Place),
            )
            for place, result in zip(places, tree_iter(operation(*arguments, **options)), strict=True):
                if place is not None:
                    tensors[place] = result
        return tuple(tensors[place] for place in results)

    program = _as_program(replay, (*inputs, *outside))
    return lambda *given: program(*given, *outside)


def _as_program(replay, example):
    """TorchScript's program of the operations; PyTorch prefers others, which take half a minute to compile."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.trace(replay, example, check_trace=False)
