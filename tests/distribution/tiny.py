"""One tiny model, its weights and its data, the same in every process that imports this."""

import keras
import numpy as np

from keras_griffin.models import Griffin, GriffinConfig

VOCABULARY, ROWS, STEPS, EPOCHS = 32, 16, 40, 2
CONFIG = GriffinConfig(
    vocabulary_size=VOCABULARY,
    width=16,
    num_layers=2,
    num_heads=8,
    head_dim=4,
    mlp_width=32,
    recurrence_width=32,
    window=8,
    num_gate_blocks=8,
    block_pattern=("recurrent", "local_mqa"),
)


def model(kind=Griffin, config=CONFIG, **kwargs):
    """A model whose weights are the same wherever it is made."""
    made = kind(config, **kwargs)
    rng = np.random.default_rng(0)
    made.set_weights([rng.normal(scale=0.2, size=weight.shape).astype("float32") for weight in made.weights])
    return made


def windows():
    """Token ids and targets, `(ROWS, STEPS)` each."""
    tokens = np.random.default_rng(1).integers(VOCABULARY, size=(ROWS, STEPS + 1)).astype("int32")
    return tokens[:, :-1], tokens[:, 1:]


def packed():
    """Two or three documents a row, with padding inside and at the end: inputs, targets and weights."""
    rng = np.random.default_rng(2)
    segments = np.sort(rng.integers(1, 4, size=(ROWS, STEPS)), axis=1).astype("int32")
    segments[rng.random(segments.shape) < 0.2] = 0
    token_ids, targets = windows()
    return {"token_ids": token_ids, "segment_ids": segments}, targets, (segments > 0).astype("float32")


def losses(trained, data) -> list[float]:
    """The loss of each epoch of a short `fit` in batches of 8 rows."""
    inputs, targets, *weights = data
    options = {"sample_weight": weights[0] if weights else None, "batch_size": 8, "epochs": EPOCHS}
    return trained.fit(inputs, targets, shuffle=False, verbose=0, **options).history["loss"]


class Batches(keras.utils.PyDataset):
    """The windows in two batches of 8 rows."""

    num_batches, epoch = 2, 0

    def __getitem__(self, index):
        return tuple(x[8 * index : 8 * index + 8] for x in windows())
