"""A model's parameters while it computes: whole, or divided over processes."""

import abc
import contextlib
import gc
from collections.abc import Callable, Iterator
from typing import Any

import keras


class Divided(keras.Variable):
    """The base of variables of which each process holds `parts`, a `DTensor`; their values are read as a whole."""

    parts: Any


class OverProcesses(abc.ABC):
    """How several processes of PyTorch train one language model, each with its rows of every batch."""

    #: Whether each process holds a part of every weight.
    divides = False
    #: The processes that share a batch, B / P rows each: this is `index` of `count`, and sums are over all.
    batch: Any

    @abc.abstractmethod
    def run(self, model: keras.Model, function: Callable, *args, **kwargs):
        """Call a function that computes with the weights of a model."""

    @abc.abstractmethod
    def reset_on_error(self) -> contextlib.AbstractContextManager:
        """A `with` block after whose failure the next step starts afresh."""

    @abc.abstractmethod
    def check_whole(self, function_name: str) -> None:
        """Raise a ValueError if a weight is not whole now."""

    @abc.abstractmethod
    def gathered(self, model: keras.Model) -> contextlib.AbstractContextManager:
        """A `with` block in which each process computes on its own, with whole weights."""


def with_whole_weights(model, function: Callable, *args, **kwargs):
    """The result of a function that computes with the weights of a `FirstBatch`; divided ones are gathered for it."""
    processes = processes_of(model)
    if processes is not None:
        return processes.run(model, function, *args, **kwargs)
    check_parameters(model)
    return function(*args, **kwargs)


def reset_on_error(model) -> contextlib.AbstractContextManager:
    """A `with` block whose failure, in either direction of a step, does not affect the next step."""
    processes = processes_of(model)
    return contextlib.nullcontext() if processes is None else processes.reset_on_error()


def processes_of(model) -> OverProcesses | None:
    """How several processes train the language model of a `FirstBatch`; None if one does, or it is unknown."""
    language_model = model.known_language_model()
    return None if language_model is None else language_model.processes


def is_divided(model) -> bool:
    """Whether `keras_griffin.distribution.fully_shard` has divided the weights of a `FirstBatch`."""
    processes = processes_of(model)
    return processes is not None and processes.divides


@contextlib.contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Inside the `with` block, Keras's garbage collection for each deleted variable takes no time."""
    # It would visit every object of the process: 100 s for the kernels of 26 blocks. A variable's memory is freed
    # without it, as soon as nothing refers to the variable.
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def check_parameters(model: keras.Model) -> None:
    """Refuse a built model whose parameters PyTorch alone has divided, as `torch.distributed.fsdp.fully_shard` does."""
    # Keras computes with its variables, which would be neither divided nor trained: an optimizer of the parameters
    # would update tensors that no output depends on.
    if keras.backend.backend() != "torch":
        return
    from keras_griffin.models.torch_parameters import replaced_parameter_type

    replaced = replaced_parameter_type(model)
    if replaced is not None:
        raise ValueError(
            f"{type(model).__name__}: a model's parameters must be its variables' values; "
            "keras_griffin.distribution.fully_shard divides both, and DistributedDataParallel keeps them. "
            f"Got a {replaced}, as created by torch.distributed.fsdp.fully_shard."
        )
