"""Every feature of training in one `fit`.

Documents packed in chunks whose state is carried, mixed_bfloat16, blocks made again, the loss in pieces, accumulated
gradients, and, on JAX, a model divided over eight devices.

`python -m tests.distribution.everything_at_once`, with XLA told to simulate the devices, answers in JSON.
"""

import json

import keras
import numpy as np

from keras_griffin.distribution import layout_map
from keras_griffin.training import ConsecutiveChunks, Tokens, default_optimizer
from tests.distribution.tiny import CONFIG, VOCABULARY, model

ROWS, STEPS, EPOCHS = 8, 12, 3


def documents():
    """Texts of many lengths in which each token follows from the one before."""
    rng = np.random.default_rng(0)
    return [(rng.integers(VOCABULARY) + 3 * np.arange(rng.integers(1, 60))) % VOCABULARY for _ in range(24)]


def train(distribution=None) -> dict:
    """The logs of `fit`."""
    keras.distribution.set_distribution(distribution)
    chunks = ConsecutiveChunks(documents(), STEPS, ROWS, vocabulary_size=VOCABULARY)
    language_model = model(dtype="mixed_bfloat16", rematerialize=True)
    carried = language_model.carried(ROWS, logits=False)
    optimizer = default_optimizer(language_model, 1e-2, steps=EPOCHS * chunks.num_batches, accumulation=2)
    carried.compile(optimizer, weighted_metrics=[Tokens()])
    return carried.fit(chunks, epochs=EPOCHS, verbose=0).history


def main():
    mesh = keras.distribution.DeviceMesh((2, 4), ["batch", "model"])
    divided = keras.distribution.ModelParallel(layout_map=layout_map(CONFIG, mesh))
    print("ANSWERS" + json.dumps({"one device": train(), "eight devices": train(divided)}))


if __name__ == "__main__":
    main()
