import numpy as np
import pytest
from keras import ops

from keras_griffin.models import GriffinConfig, Hawk
from keras_griffin.tasks import associative_recall, induction_heads, selective_copying

pytestmark = [pytest.mark.any_backend, pytest.mark.trainable]


def test_a_model_trains_on_a_batch_as_it_is_with_the_loss_of_the_answers():
    model = Hawk(GriffinConfig(vocabulary_size=16, width=16, num_layers=1, num_heads=1))
    for batch in (selective_copying(2, 8, 4), induction_heads(2, 12), associative_recall(2, 12, 2, vocabulary_size=16)):
        logits = ops.convert_to_numpy(model(batch.token_ids)).astype("float64")
        nats = np.log(np.exp(logits).sum(axis=-1)) - np.take_along_axis(logits, batch.targets[..., None], -1)[..., 0]
        model.compile("adam", model.loss)
        np.testing.assert_allclose(model.train_on_batch(*batch), nats[batch.weights == 1].mean(), rtol=1e-5)
