import keras
import pytest

from keras_griffin.ops.local_attention.cases import PLAIN, with_marks
from tests.ops.rows import check_gradients, check_values

pytestmark = pytest.mark.skipif(keras.backend.backend() != "jax", reason="Keras's distribution is JAX's alone")


@pytest.fixture(autouse=True)
def distribution(monkeypatch):
    """Heads stay an axis of their own wherever a distribution is active, be there devices or not."""
    monkeypatch.setattr(keras.distribution, "distribution", lambda: "one")


@pytest.mark.parametrize("name", ["one block", "blocks", "blocks after history"])
def test_values_under_a_distribution(name):
    check_values("local_attention", "portable", with_marks(PLAIN[name]))


def test_gradients_under_a_distribution():
    check_gradients("local_attention", "portable", with_marks(PLAIN["blocks"]))
