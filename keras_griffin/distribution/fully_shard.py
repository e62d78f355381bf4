"""Fully sharded data parallelism on PyTorch: FSDP2."""

import importlib
from typing import Any

from keras_griffin.distribution.data_parallel import check_can_be_shared
from keras_griffin.models import LanguageModel


def fully_shard(model: LanguageModel, mesh: Any = None, *, reshard_after_forward: bool | int | None = None) -> None:
    """Shard a model's weights over PyTorch processes, as `torch.distributed.fsdp.fully_shard` does for modules.

    Each process stores 1 / P of every weight, of its gradient and of its optimizer slots. The weights of a block are
    gathered before it computes and freed after it, and once more for its gradient; weights outside the blocks stay
    gathered from the beginning of a step's forward pass to the end of its backward pass. Each process reads its rows of
    a batch as for `data_parallel`, with the same losses and gradients.

    `fit`, `evaluate`, `predict`, `train_on_batch` and custom loops work as before, with any Keras optimizer, and so do
    the models of `model.packed()` and `model.carried()`; those that carry a state are created after this call. The
    model itself is created whole in each process, and so are the optimizer's slots, once, before they are sharded.

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
    check_can_be_shared("fully_shard", model, "keras_griffin.distribution.layout_map")
    divided = importlib.import_module("keras_griffin.distribution.torch_fully_shard")
    model.processes = divided.DividedParameters(model, mesh, reshard_after_forward)
