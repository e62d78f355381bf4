import types

import keras
import numpy as np
import pytest

from keras_griffin.models import Griffin, GriffinConfig
from keras_griffin.training import AdamW, default_learning_rate, default_optimizer

pytestmark = pytest.mark.any_backend

MODEL = GriffinConfig(vocabulary_size=8, width=16, num_layers=1, num_heads=2, window=4)


def model_of(size):
    """A stand-in with so many parameters beside the embedding."""
    variables = [("token_embedding/embeddings", (10**6, 10**3)), ("block_0/mlp/up/kernel", (size, 1))]
    return types.SimpleNamespace(
        trainable_variables=[types.SimpleNamespace(path=path, shape=shape) for path, shape in variables]
    )


def test_the_defaults_are_those_of_the_field():
    optimizer = default_optimizer(Griffin(MODEL), 1e-3)
    assert isinstance(optimizer, AdamW)
    assert (optimizer.weight_decay, optimizer.beta_1, optimizer.beta_2) == (0.1, 0.9, 0.95)
    assert (optimizer.epsilon, optimizer.global_clipnorm, optimizer.drop_nonfinite) == (1e-8, 1.0, True)
    assert optimizer.gradient_accumulation_steps is None
    assert float(optimizer.learning_rate) == pytest.approx(1e-3)


def test_each_argument_reaches_the_optimizer():
    numbers = {"weight_decay": 0.2, "beta_2": 0.99, "epsilon": 1e-6, "dynamics_scale": 0.5}
    others = {"clip_norm": None, "accumulation": 3, "drop_nonfinite": False}
    optimizer = default_optimizer(Griffin(MODEL), 1e-3, **numbers, **others)
    assert {name: getattr(optimizer, name) for name in numbers} == numbers
    assert (optimizer.global_clipnorm, optimizer.gradient_accumulation_steps) == (None, 3)
    assert not optimizer.drop_nonfinite


@pytest.mark.trainable
def test_the_schedule_ends_with_the_last_batch_of_the_run():
    """Four epochs of five batches, two to an update: the steps are the batches."""
    model = Griffin(MODEL)
    model.compile(default_optimizer(model, 1e-2, steps=20, warm_up=0.2, final=0.5, accumulation=2), model.loss)
    rates = []

    class Rates(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            rates.append(float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)))

    tokens = np.ones((5, 4), "int32")
    model.fit(tokens, tokens, batch_size=1, epochs=4, callbacks=[Rates()], verbose=0)
    assert rates == pytest.approx([1e-2 * (0.75 + 0.25 * np.cos(np.pi * (step - 4) / 16)) for step in (5, 10, 15, 20)])
    assert int(model.optimizer.iterations) == 10


@pytest.mark.parametrize(("size", "rate"), [(10**6, 1.312e-3), (10**8, 6.693e-4), (10**9, 3.481e-4)])
def test_the_learning_rate_follows_from_the_parameters_beside_the_embedding(size, rate):
    assert default_learning_rate(model_of(size)) == pytest.approx(rate, rel=1e-3)


@pytest.mark.parametrize("size", [0, 2 * 10**10])
def test_a_model_too_large_for_the_rule_is_refused(size):
    message = f"default_learning_rate: the model must have 1 to 1e.10 parameters besides its embedding. Got {size}."
    with pytest.raises(ValueError, match=message):
        default_learning_rate(model_of(size))


@pytest.mark.parametrize(
    ("argument", "value"),
    [("accumulation", 0), ("accumulation", True), ("steps", 0), ("learning_rate", "1e-3")],
)
def test_arguments_that_are_none_are_refused(argument, value):
    with pytest.raises(ValueError, match=rf"^default_optimizer: {argument} must be .* Got {value!r}\.$"):
        default_optimizer(Griffin(MODEL), **{argument: value})
