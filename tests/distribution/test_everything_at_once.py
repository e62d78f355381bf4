import keras
import numpy as np
import pytest

from tests.distribution.everything_at_once import documents, train
from tests.distribution.processes import EIGHT_DEVICES, answers_of

BACKEND = keras.backend.backend()


def assert_it_trains(logs):
    assert logs["loss"][-1] < 0.95 * logs["loss"][0]
    # Every token but the first of each document is predicted in every epoch.
    assert logs["tokens"] == [sum(len(document) - 1 for document in documents())] * len(logs["loss"])


@pytest.mark.skipif(BACKEND != "jax", reason="Keras's distribution is JAX's alone")
@pytest.mark.slow
def test_all_features_on_eight_devices_have_the_losses_of_one():
    logs = answers_of("everything_at_once", [], environment=EIGHT_DEVICES)[0]
    assert_it_trains(logs["eight devices"])
    # In bfloat16, of which sums in another order are rounded otherwise.
    np.testing.assert_allclose(logs["eight devices"]["loss"], logs["one device"]["loss"], rtol=1e-2)


@pytest.mark.trainable
@pytest.mark.skipif(BACKEND == "jax", reason="JAX has eight devices")
def test_all_features_at_once():
    assert_it_trains(train())
