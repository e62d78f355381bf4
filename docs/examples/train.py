"""Train a language model in one process or in many: one function for every launcher.

    python train.py corpus.tokens runs/mine
    export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
    torchrun --nproc-per-node 2 --max-restarts 3 train.py corpus.tokens runs/mine

Without that variable, processes that PyTorch 2.13 starts again may look for those that
have ended, and fail: "Gloo connectFullMesh failed". On JAX, the variables of
`keras.distribution.initialize` name the processes, or they find each other, on a TPU
pod and under Slurm, by --find-processes. The same command resumes after a failure, also
with another number of processes. The token file, or folder of them, is one that
`python -m keras_griffin tokenize` has written.
"""

import argparse
import atexit
import os
import time

import keras
from keras_griffin.distribution import (
    LocalRows,
    data_parallel,
    fully_shard,
    layout_map,
)
from keras_griffin.models import Griffin, GriffinConfig
from keras_griffin.training import (
    ConsecutiveChunks,
    PackedDocuments,
    ResumableRun,
    TokenFile,
    default_optimizer,
)

DEFAULTS = {
    # "packed": rows of documents. "carried": each row continues that of the last batch.
    "rows": "packed",
    # "whole": each process has all weights. "sharded": it has a part of every matrix.
    "weights": "whole",
    # On JAX: whether processes find each other, as on a TPU pod and under Slurm.
    "find_processes": False,
    "dtype": "mixed_bfloat16",
    # Of all processes together.
    "batch_size": 8,
    "sequence_length": 256,
    "epochs": 1,
    "learning_rate": 1e-3,
    "save_every": 100,
    "model": {"width": 256, "num_layers": 6, "num_heads": 4, "window": 128},
}


def join_processes(find: bool) -> tuple[int, int]:
    """Join the processes that a launcher has started: this one's number, and theirs."""
    if keras.backend.backend() == "torch":
        from torch import cuda, distributed

        if "WORLD_SIZE" in os.environ and not distributed.is_initialized():
            if cuda.is_available():
                cuda.set_device(int(os.environ["LOCAL_RANK"]))
            distributed.init_process_group("nccl" if cuda.is_available() else "gloo")
            atexit.register(leave_processes)
        if not distributed.is_initialized():
            return 0, 1
        return distributed.get_rank(), distributed.get_world_size()
    if keras.backend.backend() != "jax":
        return 0, 1
    if find or "KERAS_DISTRIBUTION_NUM_PROCESSES" in os.environ:
        keras.distribution.initialize()
    import jax

    return jax.process_index(), jax.process_count()


def leave_processes() -> None:
    """Leave PyTorch's processes: a thread of gloo at work would abort the exit."""
    from torch import distributed

    # FSDP2 keeps those threads alive; they finish their work within this time.
    time.sleep(0.5)
    distributed.destroy_process_group()


def divide_over_devices(config: GriffinConfig, weights: str) -> None:
    """On JAX, divide what is created from now on over the devices of all processes."""
    options = {"auto_shard_dataset": False}
    distribution = keras.distribution.DataParallel(**options)
    if weights == "sharded":
        shape = len(keras.distribution.list_devices()), 1
        mesh = keras.distribution.DeviceMesh(shape, ["batch", "model"])
        options["layout_map"] = layout_map(config, mesh)
        distribution = keras.distribution.ModelParallel(**options)
    keras.distribution.set_distribution(distribution)


def train(tokens: str, folder: str, settings: dict | None = None, callbacks=()) -> dict:
    """Train, or resume, on a token file; the history of the whole run.

    Every process calls this with the same arguments. `folder` must be visible to all:
    after a restart, process 0, which writes it, may be on another machine.
    """
    settings = {**DEFAULTS, **(settings or {})}
    index, count = join_processes(settings["find_processes"])
    on_jax = keras.backend.backend() == "jax"
    keras.utils.set_random_seed(0)
    documents = TokenFile(tokens)
    config = GriffinConfig(
        vocabulary_size=documents.vocabulary_size, **settings["model"]
    )
    if on_jax and count > 1:
        divide_over_devices(config, settings["weights"])
    model = Griffin(config, dtype=settings["dtype"])
    if not on_jax and count > 1:
        (fully_shard if settings["weights"] == "sharded" else data_parallel)(model)

    shape = settings["sequence_length"], settings["batch_size"]
    if settings["rows"] == "carried":
        data = ConsecutiveChunks(documents, *shape)
        fitted = model.carried(settings["batch_size"], logits=False)
    else:
        data = PackedDocuments(documents, *shape)
        fitted = model.packed(logits=False)
    steps = settings["epochs"] * data.num_batches
    optimizer = default_optimizer(model, settings["learning_rate"], steps=steps)
    fitted.compile(optimizer)
    run = ResumableRun(folder, save_every=settings["save_every"])
    history = run.fit(
        fitted,
        LocalRows(data, index, count),
        settings["epochs"],
        callbacks=list(callbacks),
        verbose="auto" if index == 0 else 0,
    )
    return history.history


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tokens", help="a token file, or a folder of its shards")
    parser.add_argument("folder", help="of the run")
    text = "(default: %(default)s)"
    parser.add_argument(
        "--rows", choices=["packed", "carried"], default="packed", help=text
    )
    parser.add_argument(
        "--weights", choices=["whole", "sharded"], default="whole", help=text
    )
    parser.add_argument("--find-processes", action="store_true", help="on JAX")
    settings = vars(parser.parse_args())
    train(settings.pop("tokens"), settings.pop("folder"), settings)
