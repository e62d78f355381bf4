"""A function of tensors as the list of PyTorch's operations in one of its calls, and their replay without the function.

What every replay would repeat is left out: constants, and views of weights. TorchScript runs the rest: its interpreter,
in C++, spends a microsecond on an operation where Python spends several.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


@dataclass(frozen=True)
class _Place:
    """Stands for a tensor: its place in the list of all of a replay's tensors."""

    place: int


@dataclass(frozen=True)
class _Step:
    """An operation, with places instead of tensors."""

    operation: Any
    arguments: list
    options: dict
    #: One for each result; None if that is no tensor.
    places: Sequence[int | None]

    @property
    def read(self) -> list[int]:
        return [x.place for x in _leaves([self.arguments, *self.options.values()]) if isinstance(x, _Place)]

    @property
    def made(self) -> list[int]:
        return [place for place in self.places if place is not None]

    @property
    def is_view(self) -> bool:
        """Whether its results lie in the memory of its arguments, which it does not change."""
        aliases = [result.alias_info for result in self.operation._schema.returns]
        return bool(aliases) and all(alias is not None and not alias.is_write for alias in aliases)

    @property
    def is_fixed(self) -> bool:
        """Whether its results follow from its arguments, which it does not change."""
        is_random = torch.Tag.nondeterministic_seeded in self.operation.tags
        return not self.operation._schema.is_mutable and not is_random


class _Recording(TorchDispatchMode):
    """Records the operations on tensors in the `with` block, except new views of known tensors."""

    def __init__(self, inputs):
        super().__init__()
        self.steps: list[_Step] = []
        #: Tensors by place: inputs, then others as they appear. All are kept, so no two share memory by chance.
        self.tensors = list(inputs)
        self.places = {_memory(tensor): place for place, tensor in enumerate(inputs)}
        #: The places of tensors from elsewhere, such as weights, and among them those of Python's and NumPy's numbers.
        self.outside = []
        self.numbers = set()

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        """Run an operation and record it."""
        options = options or {}
        if operation is torch.ops.aten.lift_fresh.default:
            # Given numbers may be changed, so each replay has a copy of its own.
            (tensor,) = arguments
            numbers = self.place_of(tensor.clone())
            self.numbers.add(numbers.place)
            self.steps.append(_Step(torch.ops.aten.clone.default, [numbers], {}, [self._add(tensor)]))
            return tensor
        recorded = _mapped(self.place_of, arguments)
        recorded_options = dict(zip(options, _mapped(self.place_of, options.values()), strict=True))
        results = operation(*arguments, **options)
        made = list(_leaves(results))
        tensors = [x for x in made if isinstance(x, Tensor)]
        if tensors and not operation._schema.is_mutable and all(_memory(x) in self.places for x in tensors):
            return results
        places = [self._add(x) if isinstance(x, Tensor) else None for x in made]
        self.steps.append(_Step(operation, recorded, recorded_options, places))
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

    def needed(self, results: Sequence[int]) -> tuple[list[_Step], list[int]]:
        """The steps of a replay that returns the places `results`, and the places of tensors that it finds ready."""
        # If a step changes a tensor's shape in place, earlier views of it have another shape now.
        keeps_shapes = not any(torch.Tag.inplace_view in step.operation.tags for step in self.steps)
        steps, ready = self._without_ready(results, keeps_shapes)
        if keeps_shapes:
            steps = self._with_short_views(steps)
        read = set(results)
        kept = []
        for step in reversed(steps):
            if not step.is_fixed or not read.isdisjoint(step.made):
                kept.append(step)
                read.update(step.read)
        return kept[::-1], [place for place in ready if place in read]

    def _without_ready(self, results, keeps_shapes):
        """Without steps that depend on neither inputs nor weights, and without views of weights."""
        # The caller may change the results.
        changed = [place for step in self.steps if not step.is_fixed for place in (*step.read, *step.made)]
        memory = {_storage(self.tensors[place]) for place in (*changed, *results)}
        constants = set(self.numbers)
        ready = dict.fromkeys(self.outside)
        steps = []
        for step in self.steps:
            is_kept = memory.isdisjoint(_storage(self.tensors[place]) for place in step.made)
            if step.is_fixed and step.made and is_kept and constants.issuperset(step.read):
                constants.update(step.made)
                ready.update(dict.fromkeys(step.made))
            elif step.is_view and keeps_shapes and ready.keys() >= set(step.read):
                # The weights' numbers may change, but not where they are.
                ready.update(dict.fromkeys(step.made))
            else:
                steps.append(step)
        return steps, list(ready)

    def _with_short_views(self, steps):
        """With each view of a view as a view of the first tensor."""
        first_of: dict[int, int] = {}
        short = []
        for step in steps:
            if step.is_view and len(step.read) == len(step.made) == 1:
                (read,), (made,) = step.read, step.made
                first = first_of.get(read, read)
                if _beginning(self.tensors[first]) == _beginning(self.tensors[made]):
                    first_of[made] = first
                    if first != read:
                        view = self.tensors[made]
                        arguments = [_Place(first), list(view.shape), list(view.stride())]
                        step = _Step(torch.ops.aten.as_strided.default, arguments, {}, [made])
            short.append(step)
        return short


def _beginning(tensor):
    """Equal for two tensors that only shape and strides distinguish."""
    return _storage(tensor), tensor.storage_offset(), tensor.dtype, tensor.is_conj(), tensor.is_neg()


def _storage(tensor):
    return tensor.untyped_storage().data_ptr()


def _memory(tensor):
    """Equal for two tensors that are the same numbers in the same place, even if PyTorch has made a new object."""
    return *_beginning(tensor), tensor.shape, tensor.stride()


def _mapped(function, structure):
    """The function of every leaf of nested lists, in a fraction of the time that `torch.utils._pytree` takes."""
    return [_mapped(function, x) if isinstance(x, (list, tuple)) else function(x) for x in structure]


def _leaves(structure) -> Iterator:
    if isinstance(structure, (list, tuple)):
        for part in structure:
            yield from _leaves(part)
    else:
        yield structure


@torch.no_grad()
def record(function: Callable[..., Sequence[Tensor]], inputs: Sequence[Tensor]) -> Callable[..., Sequence[Tensor]]:
    """A function that does to contiguous inputs of the same shapes and dtypes what `function` does to these.

    `function` is called once. Whatever it decides or computes without tensors is fixed, and its assertions are not
    repeated. Tensors from elsewhere, such as weights, are read at every call, where they are now. No gradients are
    recorded, and the result must run without.
    """
    # Two inputs that are one tensor here may be two in another call.
    inputs = [tensor.clone(memory_format=torch.contiguous_format) for tensor in inputs]
    with _Recording(inputs) as recording:
        outputs = function(*inputs)
    results = [recording.place_of(output).place for output in outputs]
    steps, ready = recording.needed(results)
    outside = [recording.tensors[place] for place in ready]
    first = [*range(len(inputs)), *ready]
    count = len(recording.tensors)

    def replay(*given):
        tensors = [None] * count
        for place, tensor in zip(first, given, strict=True):
            tensors[place] = tensor

        def tensor_at(x):
            return tensors[x.place] if isinstance(x, _Place) else x

        for step in steps:
            options = dict(zip(step.options, _mapped(tensor_at, step.options.values()), strict=True))
            made = step.operation(*_mapped(tensor_at, step.arguments), **options)
            for place, result in zip(step.places, _leaves(made), strict=True):
                if place is not None:
                    tensors[place] = result
        return tuple(tensors[place] for place in results)

    with warnings.catch_warnings():
        # TorchScript is deprecated, but what PyTorch prefers takes half a minute to compile. The second from 2.15 on.
        for category in (DeprecationWarning, FutureWarning):
            warnings.simplefilter("ignore", category)
        program = torch.jit.trace(replay, (*inputs, *outside), check_trace=False)

    def run(*given):
        # Optimising takes longer than it saves in some thousand calls.
        with torch.jit.optimized_execution(False):
            return program(*given, *outside)

    return run
