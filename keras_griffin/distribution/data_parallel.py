"""Data parallelism on PyTorch: every process has the whole model, and its rows of each batch."""

import importlib

import keras

from keras_griffin.models import LanguageModel


def data_parallel(model: LanguageModel) -> None:
    r"""Train one model in all processes of PyTorch's process group, each with its rows of every batch.

    With \(l\) the loss of a token, \(w\) its weight, \(\theta\) the weights of the model, and P processes that each
    read B / P rows of a batch of B, such as those of `LocalRows`,

        loss = sum_t w_t l_t / sum_t w_t             over the tokens of all B rows
        gradient = d loss / d theta                  the same in every process

    in `fit`, `evaluate`, `train_on_batch` and `test_on_batch`, and in those of the models of `model.packed()` and
    `model.carried(B)`, of which each process carries the state of its B / P rows. So every process has the losses, and
    after each step the weights, of one process with the whole batch. Metrics other than the loss are those of a
    process's own rows.

    All processes must make the same calls. For what one does alone, such as evaluating on data of its own, use a `with`
    block of `gathered`.

    On JAX use `keras.distribution.DataParallel`, on TensorFlow a strategy. `torch.nn.parallel.DistributedDataParallel`
    serves your own loops, since Keras's `fit` would not call it.

    Args:
        model: a `LanguageModel`, with the same weights in every process. Models that carry its state are created after
            this call.

    Raises:
        ValueError: the backend is not torch, the model is not a `LanguageModel`, it is already divided over processes,
            there is no process group, or the weights differ between processes.

    Reference: Li et al. 2020 (arXiv 2006.15704).
    """
    check_can_be_shared("data_parallel", model, "keras.distribution.DataParallel")
    parallel = importlib.import_module("keras_griffin.distribution.torch_data_parallel")
    model.processes = parallel.WholeParameters(model)


def check_can_be_shared(function_name: str, model: LanguageModel, on_jax: str) -> None:
    """Check what several processes are to train, before anything is shared."""
    if keras.backend.backend() != "torch":
        raise ValueError(
            f"{function_name}: the backend must be torch; on JAX use {on_jax}. Got {keras.backend.backend()}."
        )
    if not isinstance(model, LanguageModel):
        raise ValueError(f"{function_name}: the model must be a LanguageModel, such as Griffin. Got {model!r}.")
    if model.processes is not None:
        raise ValueError(
            f"{function_name}: data_parallel or fully_shard must be called only once for a model. Got one that has "
            "been given to several processes already."
        )
