"""Fully sharded data parallelism on PyTorch: FSDP2."""

import contextlib
import importlib
from typing import Any

import keras

from keras_griffin.models import LanguageModel
from keras_griffin.models.parameters import divided_parameters_of
from keras_griffin.models.training.first_batch import FirstBatch


def fully_shard(model: LanguageModel, mesh: Any = None, *, reshard_after_forward: bool | int | None = None) -> None:
    """Shard a model's weights over PyTorch processes, as `torch.distributed.fsdp.fully_shard` does for modules.

    Each process stores 1 / P of every weight, of its gradient and of its optimizer slots. The weights of a block are
    gathered before it computes and freed after it, and once more for its gradient; weights outside the blocks stay
    gathered from the beginning of a step's forward pass to the end of its backward pass. Gradients are averaged over
    processes, so P processes that each take 1 / P of a batch's rows (`LocalRows`) train like one process with all rows,
    if all rows have the same weight.

    `fit`, `evaluate`, `predict`, `train_on_batch` and custom loops work as before, with any Keras optimizer, and so do
    the models of `model.packed()` and `model.carried()`, whether created before or after. The losses that they report
    are those of a process's own rows. The model itself is created whole in each process, and so are the optimizer's
    slots, once, before they are sharded.

    `variable.value` is a `DTensor` between steps. Calls that read values, such as `get_weights`, `save` and
    `save_weights`, gather one variable after the other, so every process must make them; use a `with` block of
    `gathered` for decoding, and for anything that one process does alone.

    Call this function when all weights exist, including adapters. PyTorch's own function is refused on a Keras model:
    it shards parameters that Keras does not compute with.

    Args:
        model: a `LanguageModel`, with the same weights in every process.
        mesh: a `torch.distributed.device_mesh.DeviceMesh` of one axis; None for all processes. PyTorch supports meshes
            with two axes, which are untested here.
        reshard_after_forward: as for PyTorch's function: False keeps blocks gathered until their gradients are
            computed.

    Raises:
        ValueError: the backend is not torch, the model is not a `LanguageModel` or is already sharded, there is no
            process group, the weights differ between processes, or PyTorch is older than 2.13.

    Reference: Zhao et al. 2023 (arXiv 2304.11277); PyTorch's documentation of `torch.distributed.fsdp.fully_shard`.
    """
    if keras.backend.backend() != "torch":
        raise ValueError(
            "fully_shard: the backend must be torch; on JAX use keras_griffin.distribution.layout_map. "
            f"Got {keras.backend.backend()}."
        )
    if not isinstance(model, LanguageModel):
        raise ValueError(f"fully_shard: the model must be a LanguageModel, such as Griffin. Got {model!r}.")
    if model.divided_parameters is not None:
        raise ValueError("fully_shard: a model can be sharded only once. Got one that is sharded already.")
    divided = importlib.import_module("keras_griffin.distribution.torch_fully_shard")
    model.divided_parameters = divided.DividedParameters(model, mesh, reshard_after_forward)


def gathered(model: keras.Model) -> contextlib.AbstractContextManager:
    """A `with` block in which a model sharded by `fully_shard`, and its optimizer, are whole in every process.

    Every process must enter and leave the block. Inside, each process may save, decode or read on its own. A value that
    is assigned there, as by `load_weights`, must be assigned by every process. Training inside the block is refused.

    Args:
        model: a `LanguageModel`, or its `packed()` or `carried()` model, whose optimizer is gathered then.

    Raises:
        ValueError: the model is not sharded.
    """
    divided = divided_parameters_of(model) if isinstance(model, FirstBatch) else None
    if divided is None:
        raise ValueError(f"gathered: the model must be sharded by fully_shard. Got {model!r}.")
    return divided.gathered(model)
