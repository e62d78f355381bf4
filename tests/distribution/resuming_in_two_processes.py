"""What `test_resuming.py` runs, once in each of two processes: a run that SIGTERM reaches in one of them alone.

`python -m tests.distribution.resuming_in_two_processes FOLDER PLACE INDEX WEIGHTS`, PLACE being where they meet: an
address for JAX, and a file for PyTorch. WEIGHTS are whole, or divided on PyTorch.
"""

import json
import os
import signal
import sys
from pathlib import Path

import keras
import numpy as np

from keras_griffin.distribution import LocalRows, fully_shard
from keras_griffin.training import RandomWindows, ResumableRun, Terminated
from tests.distribution import tiny

PROCESSES, EPOCHS, NUM_BATCHES, CUT, BACKEND = 2, 2, 4, 6, keras.backend.backend()
CONFIG = tiny.CONFIG.replace(num_layers=1, block_pattern=("recurrent",))
IS_DIVIDED = "divided" in sys.argv
TEXT = np.random.default_rng(3).integers(tiny.VOCABULARY, size=400).astype("uint8")


def join(place, index):
    """Become one of the processes."""
    if BACKEND == "jax":
        keras.distribution.initialize(place, PROCESSES, index)
        keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
    else:
        import torch

        torch.set_num_threads(1)
        torch.distributed.init_process_group("gloo", f"file://{place}", rank=index, world_size=PROCESSES)


def made():
    """A model whose gradients are the mean of all processes'."""
    trained = tiny.model(config=CONFIG)
    if IS_DIVIDED:
        fully_shard(trained)
    elif BACKEND == "torch":
        import torch

        def averaged(gradient):
            torch.distributed.all_reduce(gradient)
            return gradient / PROCESSES

        for variable in trained.trainable_variables:
            variable.value.register_hook(averaged)
    return trained


class Act(keras.callbacks.Callback):
    """Do something before a step."""

    def __init__(self, act):
        super().__init__()
        self.act, self.steps = act, 0

    def on_train_batch_begin(self, batch, logs=None):
        if self.steps == CUT - 1:
            self.act(self.model)
        self.steps += 1


def fit(folder, index, trained, act=None, seed=0):
    """Begin or go on; the history."""
    data = LocalRows(RandomWindows(TEXT, 16, 8, NUM_BATCHES, seed=seed), index, PROCESSES)
    # The validation of each process is its own, and so is the least loss that it knows.
    stopping = keras.callbacks.EarlyStopping("val_loss", patience=9)
    held_out = LocalRows(tiny.Batches(), index, PROCESSES)
    run = ResumableRun(folder, save_every=100)
    callbacks = [stopping, *([Act(act)] if act else [])]
    return run.fit(trained, data, EPOCHS, callbacks=callbacks, validation_data=held_out, verbose=0).history


def refusal(act):
    """The sentence with which something is refused."""
    try:
        act()
    except (OSError, RuntimeError, ValueError) as error:
        return str(error)


def all_values(trained):
    variables = [*trained.variables, *trained.optimizer.variables]
    return [np.asarray(variable).tolist() for variable in variables]


def stop(trained):
    """Keras ends the epoch after this batch."""
    trained.stop_training = True


def main(folder, place, index):
    folder, other = Path(folder), index != 0
    join(place, index)
    undisturbed = made()
    answers = {"history": fit(folder / "undisturbed", index, undisturbed)}

    cut = made()
    try:
        # One process alone is asked to end.
        fit(folder / "cut", index, cut, act=(lambda _: os.kill(os.getpid(), signal.SIGTERM)) if other else None)
    except Terminated as terminated:
        answers["code"] = terminated.code
    answers["step"] = ResumableRun(folder / "cut").step
    answers["another seed"] = refusal(lambda: fit(folder / "cut", index, made(), seed=int(other)))
    resumed = made()
    resumed.set_weights([0 * weight for weight in resumed.get_weights()])
    answers["resumed history"] = fit(folder / "cut", index, resumed)
    answers["same values"] = all_values(resumed) == all_values(undisturbed)

    # Where a step need not be compiled again.
    if BACKEND == "torch" and not IS_DIVIDED:
        # One process alone ends its epoch.
        fit(folder / "stopped", index, made(), act=stop if other else None)
        answers["stopped"] = ResumableRun(folder / "stopped").step
        strange = made()
        if other:
            strange.final_norm.scale.assign(0.5 * strange.final_norm.scale)
        answers["other weights"] = refusal(lambda: fit(folder / "weights", index, strange))
    if not other:
        # It can't save, and the other can't go on alone.
        (folder / "file").write_text("")
    answers["no folder"] = refusal(lambda: fit(folder / "file" / "run", index, made()))
    print("ANSWERS" + json.dumps(answers))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
