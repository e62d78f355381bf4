"""A small run to cut off. As a program, `cut_off_run.py FOLDER SECONDS_PER_STEP`, it trains until it is killed."""

import json
import os
import random
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    # Keras loads what is installed beside the backend, which takes the longest of all here. So does scikit-learn, which
    # fails where one of these is there and None.
    sys.modules.update(dict.fromkeys({"tensorflow", "jax", "torch", "sklearn"} - {os.environ["KERAS_BACKEND"]}))

import keras_griffin  # noqa: F401  Chooses the backend.

import keras  # isort: skip
import numpy as np

from keras_griffin.training import HeldOutWindows, RandomWindows, ResumableRun, warm_up_then_cosine

TEXT = np.random.default_rng(0).integers(97, 113, size=600).astype("uint8")
EPOCHS, NUM_BATCHES, SAVE_EVERY = 3, 5, 2


def make_model(units=8, seed=0, **optimizer):
    """With dropout, accumulated gradients, and a schedule."""
    random.seed(seed)
    layers = [keras.layers.Embedding(128, units), keras.layers.Dropout(0.2, seed=3), keras.layers.Dense(128)]
    model = keras.Sequential([keras.Input((4,), dtype="int32"), *layers])
    settings = {"gradient_accumulation_steps": 3, "weight_decay": 0.1, **optimizer}
    model.compile(
        keras.optimizers.AdamW(warm_up_then_cosine(0.05, EPOCHS * NUM_BATCHES), **settings),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        weighted_metrics=["sparse_categorical_accuracy"],
    )
    return model


def make_data(**changes):
    """Five batches an epoch."""
    return RandomWindows(TEXT, **{"sequence_length": 4, "batch_size": 2, "num_batches": NUM_BATCHES, **changes})


def held_out():
    """Two batches."""
    return HeldOutWindows(TEXT[:17], 4, 2)


def fit(folder, model, callbacks=(), epochs=EPOCHS, **options):
    """Begin or go on."""
    Path(folder).mkdir(exist_ok=True)
    log = keras.callbacks.CSVLogger(Path(folder) / "log.csv")
    run = ResumableRun(Path(folder) / "run", save_every=SAVE_EVERY)
    options = {"validation_data": held_out(), "verbose": 0, **options}
    return run.fit(model, options.pop("data", None) or make_data(), epochs, callbacks=[*callbacks, log], **options)


def values(model):
    """All that training moves."""
    variables = [*model.variables, *model.optimizer.variables]
    return [np.array(keras.ops.convert_to_numpy(variable.value)).tolist() for variable in variables]


class Pause(keras.callbacks.Callback):
    """Make each step last, and say in a file how many there were."""

    def __init__(self, folder, seconds):
        super().__init__()
        self.folder, self.seconds, self.steps = folder, seconds, 0

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1
        (self.folder / "aside").write_text(str(self.steps))
        (self.folder / "aside").replace(self.folder / "steps")
        time.sleep(self.seconds)


if __name__ == "__main__":
    folder, seconds = Path(sys.argv[1]), float(sys.argv[2])
    model = make_model()
    history = fit(folder, model, [Pause(folder, seconds)])
    (folder / "end.json").write_text(json.dumps([history.history, values(model)]))
