"""Fully sharded data parallelism on PyTorch: FSDP2."""

import contextlib
import importlib
from typing import Any

import keras

from keras_griffin.models import LanguageModel
from keras_griffin.models.parameters import divided_parameters_of


def fully_shard(model: LanguageModel, mesh: Any = None, *, reshard_after_forward: bool | int | None = None) -> None:
    """Divide a model's weights over processes of PyTorch, as `torch.distributed.fsdp.fully_shard` does for modules.

    Each process keeps 1 / P of every weight, of its gradient and of what the optimizer remembers of it. A block's
    weights are gathered before it computes and freed after it, and once more for its gradient; what is no block stays
    whole from the beginning of a step's forward pass to the end of its backward pass. Gradients are means over
    processes, so P processes that each take 1 / P of a batch's rows (`LocalRows`) train as one process does with all of
    them, where each has the same weight.

    `fit`, `evaluate`, `predict`, `train_on_batch` and a loop of your own work as before, as do the models of
    `model.packed()` and `model.carried()`, made before or after, with any optimizer of Keras. The losses that they say
    are those of a process's own rows. The model itself is made whole in each process, and so are an optimizer's slots,
    once, before they are divided.

    `variable.value` is a `DTensor` between steps. What reads values, such as `get_weights`, `save` and
    `save_weights`, gathers one variable after the other, so every process must do it; what one process is to do alone,
    or what decodes, stands in a `with` block of `gathered`.

    Call it once all weights are there: adapters too. PyTorch's own function is refused on a model of Keras: it divides
    parameters that Keras does not compute with.

    Args:
        model: a `LanguageModel`, with the same weights in every process.
        mesh: a `torch.distributed.device_mesh.DeviceMesh` of one axis; None for all processes. PyTorch knows meshes of
            two, which were not tried here.
        reshard_after_forward: as for PyTorch's function: False keeps blocks whole until their gradients are there.

    Raises:
        ValueError: the backend is another one, the model is none of ours or already divided, no process group is
            there, processes have other weights, or PyTorch is older than 2.13.

    Reference: Zhao et al. 2023 (arXiv 2304.11277); PyTorch's documentation of `torch.distributed.fsdp.fully_shard`.
    """
    if keras.backend.backend() != "torch":
        raise ValueError(
            "fully_shard: the backend must be torch; on JAX there is keras_griffin.distribution.layout_map. "
            f"Got {keras.backend.backend()}."
        )
    if not isinstance(model, LanguageModel):
        raise ValueError(f"fully_shard: the model must be a LanguageModel, such as Griffin. Got {model!r}.")
    if model.divided_parameters is not None:
        raise ValueError("fully_shard: a model must be divided once. Got one that is divided.")
    divided = importlib.import_module("keras_griffin.distribution.torch_fully_shard")
    model.divided_parameters = divided.DividedParameters(model, mesh, reshard_after_forward)


def gathered(model: keras.Model) -> contextlib.AbstractContextManager:
    """A `with` block in which a model that `fully_shard` has divided is whole, in every process, with its optimizer.

    Every process must begin and end the block. Inside of it each may save, decode or read alone. A value that is
    assigned there, as by `load_weights`, must be assigned by every process. Training inside of it is refused.

    Args:
        model: a `LanguageModel`, or one of its `packed()` or `carried()`, whose optimizer it then is.

    Raises:
        ValueError: the model is not divided.
    """
    divided = divided_parameters_of(model)
    if divided is None:
        raise ValueError(f"gathered: the model must be one that fully_shard has divided. Got {model!r}.")
    return divided.gathered(model)
