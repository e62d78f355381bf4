import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.layers import GatedMLP, ResidualBlock
from keras_griffin.mixers import RecurrentBlock
from keras_griffin.testing.gradients import value_and_gradient

BACKEND = keras.backend.backend()


@pytest.mark.trainable
@pytest.mark.parametrize("again", [False, True])
def test_a_gradient_makes_the_block_again_where_that_is_asked_for(again, monkeypatch):
    block = ResidualBlock(RecurrentBlock(6, num_gate_blocks=2), 8, rematerialize=again)
    block.build((None, None, 4))
    inputs = np.random.default_rng(0).normal(size=(2, 5, 4)).astype("float32")

    def loss(inputs):
        return ops.sum(block(inputs) ** 2)

    if BACKEND == "jax":
        # Which runs Python once, and writes down what is to be done twice.
        import jax

        assert str(jax.make_jaxpr(jax.grad(loss))(inputs)).count("remat") == again
        return
    calls, mlp = [], GatedMLP.call

    def counted(layer, *arguments):
        calls.append(layer)
        return mlp(layer, *arguments)

    monkeypatch.setattr(GatedMLP, "call", counted)
    value_and_gradient(loss, inputs)
    assert len(calls) == 1 + again
