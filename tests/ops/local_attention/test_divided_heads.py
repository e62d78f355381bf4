import keras
import pytest

from keras_griffin.ops.implementation import use_implementation
from keras_griffin.ops.local_attention import local_attention, reference
from keras_griffin.testing.closeness import assert_close
from tests.ops.local_attention.cases import CASES, arguments_of, gradients_of, marks_of

pytestmark = pytest.mark.skipif(keras.backend.backend() != "jax", reason="Keras's distribution is JAX's alone")


@pytest.fixture(autouse=True)
def distribution(monkeypatch):
    """Heads stay an axis of their own wherever a distribution is active, be there devices or not."""
    monkeypatch.setattr(keras.distribution, "distribution", lambda: "one")


@pytest.mark.parametrize("case", ["one block", "blocks", "blocks after history"])
def test_values_under_a_distribution(case):
    arguments, window, marks = arguments_of(case)[0], CASES[case][2], marks_of("both", case)
    with use_implementation("local_attention", "portable"):
        assert_close(
            local_attention(*arguments, window, **marks), reference.local_attention(*arguments, window, **marks)
        )


@pytest.mark.trainable
def test_gradients_under_a_distribution():
    (arguments, weights), window, marks = arguments_of("blocks"), CASES["blocks"][2], marks_of("segments", "blocks")
    with use_implementation("local_attention", "portable"):
        gradients = gradients_of(arguments, weights, window, marks)
    for actual, expected in zip(
        gradients, reference.local_attention_gradient(weights, *arguments, window, **marks), strict=True
    ):
        assert_close(actual, expected)
