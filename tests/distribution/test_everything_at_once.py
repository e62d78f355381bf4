"""Every feature of training in one `fit`.

Documents packed in chunks whose state is carried, mixed_bfloat16, blocks made again, the loss in chunks, accumulated
gradients, and, on JAX, a model divided over eight devices.
"""

import keras
import numpy as np
import pytest

from keras_griffin.distribution import layout_map
from keras_griffin.training import ConsecutiveChunks, Tokens, default_optimizer
from tests.distribution.tiny import CONFIG, VOCABULARY, model

ROWS, STEPS, EPOCHS = 8, 12, 3


def documents():
    """Texts of many lengths in which each token follows from the one before."""
    rng = np.random.default_rng(0)
    return [(rng.integers(VOCABULARY) + 3 * np.arange(rng.integers(1, 60))) % VOCABULARY for _ in range(24)]


def train():
    """The losses of a `fit` that predicts every token but the first of each document in every epoch."""
    chunks = ConsecutiveChunks(documents(), STEPS, ROWS, vocabulary_size=VOCABULARY)
    language_model = model(dtype="mixed_bfloat16", rematerialize=True)
    carried = language_model.carried(ROWS, logits=False)
    optimizer = default_optimizer(language_model, 1e-2, steps=EPOCHS * chunks.num_batches, accumulation=2)
    carried.compile(optimizer, weighted_metrics=[Tokens()])
    logs = carried.fit(chunks, epochs=EPOCHS, verbose=0).history
    assert logs["tokens"] == [sum(len(document) - 1 for document in documents())] * EPOCHS
    return logs["loss"]


@pytest.mark.trainable
@pytest.mark.slow
def test_all_features_at_once_and_on_eight_devices_the_losses_of_one():
    losses = train()
    assert losses[-1] < 0.95 * losses[0]
    if keras.backend.backend() == "jax":
        mesh = keras.distribution.DeviceMesh((2, 4), ["batch", "model"])
        keras.distribution.set_distribution(keras.distribution.ModelParallel(layout_map=layout_map(CONFIG, mesh)))
        # In bfloat16, of which sums in another order are rounded otherwise.
        np.testing.assert_allclose(train(), losses, rtol=1e-2)
