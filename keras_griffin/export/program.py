"""What is exported: a function of tensors, and the names and shapes of what it takes and returns.

Any Keras model around temporal layers is one. A step or a chunk has each layer's state as inputs `past.*` and outputs
`present.*`.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_griffin.generation.capacity import walk
from keras_griffin.layers.base.stream import Stream, streamed
from keras_griffin.models import LanguageModel
from keras_griffin.models.sequence_encoder import SequenceEncoderState
from keras_griffin.shapes import State, Tensor

#: What the field calls parts of a state; others have their own names.
NAMES = {"inputs": "conv", "hidden": "recurrent", "memory": "recurrent", "matrix": "recurrent"}
NAMES |= {"keys": "key", "values": "value"}
RESET = "reset"


class Port(NamedTuple):
    """An input. A size that is free is a word, such as `"batch"`."""

    name: str
    shape: tuple[int | str, ...]
    dtype: str
    #: What each number of a state is at first; None for other inputs.
    initial: float | int | bool | None = None


@dataclass(frozen=True)
class Program:
    """A function `(*inputs, reset, *past) -> (*outputs, *present)`; a sequence has no states and no reset."""

    what: str
    function: Callable[..., tuple[Tensor, ...]]
    model: keras.Model
    inputs: tuple[Port, ...]
    outputs: tuple[str, ...]
    past: tuple[Port, ...] = ()

    @property
    def ports(self) -> tuple[Port, ...]:
        """All inputs."""
        return self.inputs + self.past

    @property
    def results(self) -> tuple[str, ...]:
        """The names of all outputs."""
        return self.outputs + tuple(port.name.replace("past.", "present.", 1) for port in self.past)

    def arguments(self, sizes: dict[str, int]) -> list[np.ndarray]:
        """Arrays of these sizes: the initial state, and zeros."""
        shapes = ([sizes[size] if isinstance(size, str) else size for size in port.shape] for port in self.ports)
        return [np.full(shape, port.initial or 0, port.dtype) for port, shape in zip(self.ports, shapes, strict=True)]


def program_of(model: keras.Model, what: str, chunk: int | None = None) -> Program:
    """The program of a built model: `"sequence"`, `"step"`, or `"chunk"` of so many steps."""
    named = list(zip(_input_names(model), model.inputs, strict=True))
    outputs = tuple(_output_names(model))
    if what == "sequence":
        ports = tuple(Port(name, _shape(tensor, "time"), _dtype(tensor)) for name, tensor in named)
        return Program(what, lambda *tensors: _flat(model(packed(model, tensors))), model, ports, outputs)
    ports = tuple(Port(name, _shape(tensor, chunk), _dtype(tensor)) for name, tensor in named)
    start = _first_states(model)
    past = tuple(_past(start))
    given = {port.name for port in ports}
    extra = () if RESET in given else (Port(RESET, ("batch",), "bool"),)
    timed = [is_timed(tensor) for _, tensor in named]
    if start and not any(timed):
        shapes = ", ".join(str(tuple(tensor.shape)) for _, tensor in named)
        raise ValueError(
            f"export: an input of a {what} must have an axis of time of any length, as keras.Input((None, 3)) has; "
            f"what='sequence' exports rows of one length. Got {shapes}."
        )

    def function(*tensors):
        inputs, leaves = list(tensors[: len(ports)]), list(tensors[len(ports) + len(extra) :])
        if extra:
            reset = tensors[len(ports)]
            leaves = [_forgetting(reset, leaf, port.initial) for leaf, port in zip(leaves, past, strict=True)]
        if chunk is None:
            inputs = [ops.expand_dims(x, 1) if is_timed else x for x, is_timed in zip(inputs, timed, strict=True)]
        with streamed(Stream(keras.tree.pack_sequence_as(start, leaves))) as stream:
            results = _flat(model(packed(model, inputs)))
        if chunk is None:
            results = [x[:, 0] if is_timed(y) else x for x, y in zip(results, model.outputs, strict=True)]
        return *results, *keras.tree.flatten(stream.after)

    return Program(what, function, model, ports + extra, outputs, past)


def _first_states(model):
    """The initial states of the model's temporal layers, for one row, in the order of their calls."""
    shapes = [(1, *_shape(tensor, 1)[1:]) for tensor in model.inputs]
    rows = [ops.zeros(shape, _dtype(tensor)) for shape, tensor in zip(shapes, model.inputs, strict=True)]
    with streamed(Stream()) as stream:
        model(packed(model, rows))
    return [layer.initial_state(1) for layer in stream.layers]


def _past(states: list[State]) -> Iterator[Port]:
    """The inputs of the states: `past.{i}.{name}` for layer, block or pool i."""
    number = -1
    for state in states:
        for block in (*state.blocks, state.pool) if isinstance(state, SequenceEncoderState) else (state,):
            number += 1
            leaves = list(walk(block))
            short = [NAMES.get(path[-1], path[-1]) for path, _, _ in leaves]
            for name, (path, leaf, grows) in zip(short, leaves, strict=True):
                name = name if short.count(name) == 1 else ".".join(path)
                sizes = ("past", *leaf.shape[2:]) if grows else leaf.shape[1:]
                initial = 0 if grows else _only(ops.convert_to_numpy(leaf))
                yield Port(f"past.{number}.{name}", ("batch", *sizes), _dtype(leaf), initial)


def _forgetting(reset, leaf, initial):
    """A tensor of the state, as it is at first in the rows of a reset."""
    mark = ops.reshape(reset, (-1, *[1] * (len(leaf.shape) - 1)))
    if _dtype(leaf) == "bool":
        # ONNX's runtimes can't select booleans.
        return ops.logical_or(mark, leaf) if initial else ops.logical_and(ops.logical_not(mark), leaf)
    return ops.where(mark, ops.cast(initial, leaf.dtype), leaf)


def _only(array: np.ndarray) -> float | int | bool:
    """The number that an initial state consists of."""
    (number,) = np.unique(array) if array.size else np.zeros(1, array.dtype)
    return number.item()


def packed(model: keras.Model, tensors: Iterable[Tensor]) -> Any:
    """Tensors as the model takes them."""
    return keras.tree.pack_sequence_as(model.input, list(tensors))


def _flat(results):
    return tuple(keras.tree.flatten(results))


def _input_names(model):
    """Those that the user gave, or `inputs`."""
    names = [re.sub(r"^(keras_tensor|input_layer)(_\d+)?$", "inputs", tensor.name) for tensor in model.inputs]
    return _distinct(names)


def _output_names(model):
    """Those of the layers that return them; a language model returns logits."""
    return ["logits"] if isinstance(model, LanguageModel) else _distinct(model.output_names)


def _distinct(names):
    return [name if names.count(name) == 1 else f"{name}.{i}" for i, name in enumerate(names)]


def is_timed(tensor: keras.KerasTensor) -> bool:
    """Whether an input or output has an axis of time: the second, of unknown size."""
    return len(tensor.shape) > 1 and tensor.shape[1] is None


def _shape(tensor, length):
    """The sizes of an input; without its axis of time if the length is None."""
    _, *others = tensor.shape
    if is_timed(tensor):
        others = others[1:] if length is None else [length, *others[1:]]
    return ("batch", *others)


def _dtype(tensor):
    return keras.backend.standardize_dtype(tensor.dtype)
