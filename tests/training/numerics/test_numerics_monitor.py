import random

import keras
import numpy as np
import pytest

from keras_griffin.models import Griffin, GriffinConfig
from keras_griffin.training import AdamW, NumericsMonitor, RandomWindows
from keras_griffin.training.numerics.layer_walk import walk_layers

CONFIG = GriffinConfig(
    vocabulary_size=16, width=16, num_layers=2, num_heads=2, window=4, block_pattern=("recurrent", "local_mqa")
)
TEXT = np.random.default_rng(0).integers(15, size=100, dtype="uint8")
TOKENS = TEXT[:16].reshape(2, 8).astype("int32")
SEGMENTS = np.array([[1, 1, 2, 2, 2, 2, 0, 0], [0, 1, 1, 1, 1, 1, 1, 1]], "int32")


class Windows(RandomWindows):
    """Four batches with weights, one of which may be wrong, up to the epoch of the data that is trained on first."""

    wrong_weight = wrong_token = None
    wrong_batch = 1
    last_epoch = 100

    def __init__(self):
        super().__init__(TEXT, 8, 2, num_batches=4)

    def __getitem__(self, index):
        tokens, targets = super().__getitem__(index)
        weights = np.ones(tokens.shape, "float32")
        if index == self.wrong_batch and self.epoch <= self.last_epoch:
            weights = weights if self.wrong_weight is None else np.full_like(weights, self.wrong_weight)
            tokens = tokens if self.wrong_token is None else np.full_like(tokens, self.wrong_token)
        return tokens, targets, weights


class Packed(keras.utils.PyDataset):
    """Two batches of packed rows."""

    num_batches = 2

    def __getitem__(self, index):
        weights = (SEGMENTS > 0).astype("float32")
        return {"token_ids": TOKENS, "segment_ids": SEGMENTS}, np.roll(TOKENS, index), weights


class Poison(keras.callbacks.Callback):
    """Fill a variable, before a step."""

    def __init__(self, path, value, batch):
        super().__init__()
        self.path, self.value, self.batch = path, value, batch

    def on_train_batch_begin(self, batch, logs=None):
        if batch == self.batch:
            variable = next(each for each in self.model.trainable_variables if each.path == self.path)
            variable.assign(np.full(variable.shape, self.value, "float32"))


def small_griffin(drop_nonfinite):
    model = Griffin(CONFIG)
    model.compile(AdamW(1e-3, drop_nonfinite=drop_nonfinite), model.loss)
    return model


@pytest.fixture(scope="module")
def compiled():
    """A model, and its weights at first: compiling takes longer than all else here."""
    random.seed(0)
    model = small_griffin(drop_nonfinite=True)
    return model, model.get_weights()


@pytest.fixture
def model(compiled):
    """The model as at first."""
    restart(*compiled)
    return compiled[0]


def restart(model, weights, optimizer=None):
    """Put weights and moments back."""
    model.set_weights(weights)
    for variable in (optimizer or model.optimizer).variables:
        if variable.path.split("/")[-1] != "learning_rate":
            variable.assign(np.zeros(variable.shape))


def fitted(model, monitor, data=None, *callbacks, epochs=1):
    callbacks = [*([] if monitor is None else [monitor]), *callbacks]
    data = Windows() if data is None else data
    return model.fit(data, epochs=epochs, shuffle=False, callbacks=callbacks, verbose=0).history


@pytest.mark.trainable
@pytest.mark.parametrize("view", ["model", "packed"])
def test_a_healthy_run_has_the_same_losses_with_and_without(view, model):
    weights = model.get_weights()
    viewed, data = (model, Windows) if view == "model" else (model.packed(), Packed)
    histories = []
    for every in (1, None):
        restart(model, weights, viewed.optimizer)
        monitor = None if every is None else NumericsMonitor(data()[0], every)
        histories.append(fitted(viewed, monitor, data(), epochs=2))
        if monitor is not None:
            assert monitor.failure is None
            assert [report.layer for report in monitor.reports] == ["block_0/mixer/rg_lru"]
    assert histories[0]["loss"] == histories[1]["loss"]
    assert histories[0]["loss"][1] != histories[0]["loss"][0]
    assert histories[0]["dropped"] == [0.0, 0.0]


@pytest.mark.trainable
def test_what_is_logged_is_what_the_walk_finds(model):
    decay = model.blocks[0].mixer.rg_lru.decay_parameter
    decay.assign(np.linspace(4.0, 20.0, decay.shape[0]))
    logs = fitted(model, NumericsMonitor(TOKENS, threshold=0.9999))
    (report,) = walk_layers(model, TOKENS, threshold=0.9999).decays
    assert logs["slow_channels"] == [report.slow_channels]
    assert logs["slow_steps"] == [report.slow_steps]
    assert logs["bounded_sqrt_hits"] == [report.bounded_sqrt_hits]
    assert 0 < report.bounded_sqrt_hits < report.slow_steps < 1


@pytest.mark.trainable
@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (
            "token_embedding/embeddings",
            np.nan,
            "first variable that is not finite is token_embedding/embeddings, in 256",
        ),
        ("block_0/mlp/up/kernel", np.inf, "the first variable that is not finite is block_0/mlp/up/kernel"),
        ("block_0/mlp/up/kernel", 3e38, "the first layer whose output is not finite is block_0/mlp/up, on batch 2 of"),
        # The unit's inputs are just finite, and its gates multiply them.
        ("block_0/mixer/conv/bias", 3e38, "the first layer whose output is not finite is block_0/mixer/rg_lru/"),
        ("block_1/mixer/value/kernel", 3e38, "the first layer whose output is not finite is block_1/mixer/value"),
    ],
)
def test_the_variable_or_the_layer_that_went_wrong_is_named(path, value, sentence, model):
    """It is poisoned before the fourth step."""
    data = Windows()
    monitor = NumericsMonitor(data, every=2)
    with pytest.raises(FloatingPointError) as error:
        fitted(model, monitor, data, Poison(path, value, batch=3), epochs=2)
    assert "NumericsMonitor: not finite in steps 3 to 4 of epoch 1, loss" in str(error.value)
    assert sentence in str(error.value)
    assert str(error.value) == monitor.failure
    assert ("the largest magnitude of its input is" in monitor.failure) == (value == 3e38)


@pytest.mark.any_backend
@pytest.mark.trainable
def test_without_dropping_the_cause_is_lost_and_that_is_said(capsys):
    model = small_griffin(drop_nonfinite=False)
    monitor = NumericsMonitor(TOKENS, every=1, raise_error=False)
    logs = fitted(model, monitor, None, Poison("block_1/mlp/down/kernel", np.nan, batch=1), epochs=2)
    count = len(model.trainable_variables)
    assert monitor.failure in capsys.readouterr().err
    assert "not finite in step 2 of epoch 1, loss nan" in monitor.failure
    assert f"all {count} variables have values that are not finite" in monitor.failure
    assert "AdamW(drop_nonfinite=True)" in monitor.failure
    assert len(logs["loss"]) == 1 and "slow_steps" in logs and "dropped" not in logs


@pytest.mark.trainable
def test_weights_that_are_not_finite_are_pointed_at(model):
    data = Windows()
    data.wrong_weight = np.nan
    with pytest.raises(FloatingPointError, match="all variables are finite.*check the targets, the weights"):
        fitted(model, NumericsMonitor(data), data)
    assert model.optimizer.dropped == 1


def test_a_look_at_no_step_is_refused():
    with pytest.raises(ValueError, match="NumericsMonitor: every must be at least 1, or None. Got 0."):
        NumericsMonitor(TOKENS, every=0)


@pytest.mark.any_backend
@pytest.mark.trainable
def test_another_model_is_refused():
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="walk_layers: the model must have an embedding"):
        model.fit(np.ones((2, 8)), np.ones((2, 2)), callbacks=[NumericsMonitor(TOKENS)], verbose=0)
