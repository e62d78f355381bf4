import random

import keras
import numpy as np
import pytest

from keras_griffin.models import Griffin, GriffinConfig
from keras_griffin.training import AdamW, NumericsMonitor, PackedDocuments, RandomWindows, RestOfEpoch, ResumableRun
from keras_griffin.training.numerics import numerics_monitor
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


def assign_zeros(variable, place):
    values = np.array(keras.ops.convert_to_numpy(variable.value))
    values[place] = 0.0
    variable.assign(values)
    return values


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
        ("block_0/mixer/rg_lru/decay_parameter", np.nan, "not finite is block_0/mixer/rg_lru/decay_parameter"),
        ("block_1/mixer/query/kernel", np.nan, "the first variable that is not finite is block_1/mixer/query/kernel"),
        ("block_0/mlp/up/kernel", 3e38, "the first layer whose output is not finite is block_0/mlp/up, on batch 2 of"),
        ("block_0/mixer/conv/kernel", 3e38, "layer whose output is not finite is block_0/mixer/conv, on batch 2 of"),
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


@pytest.fixture
def sensitive(model):
    """The model, which stays as it is: one token has a channel that a weight blows up."""
    block = model.blocks[0]
    embeddings = assign_zeros(model.token_embedding.embeddings, np.s_[:, 0])
    assign_zeros(block.mixer.output_projection.kernel, np.s_[:, 0])
    embeddings[15, 0] = 1.0
    model.token_embedding.embeddings.assign(embeddings)
    kernel = assign_zeros(block.mlp.up.kernel, np.s_[0])
    kernel[0] = 3e38
    block.mlp.up.kernel.assign(kernel)
    model.optimizer.learning_rate = 0.0
    yield model
    model.optimizer.learning_rate = 1e-3


WRONG_BATCH = "the first layer whose output is not finite is block_0/mlp/up, on batch {} of the data"


@pytest.mark.trainable
def test_a_batch_that_is_wrong_in_itself_is_found(sensitive, capsys):
    """That token stands in one batch of one epoch."""
    data = Windows()
    data.wrong_token = 15
    first_epoch = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: setattr(data, "last_epoch", data.epoch)
    )
    monitor = NumericsMonitor(data, every=None, raise_error=False)
    fitted(sensitive, monitor, data, first_epoch)
    assert "not finite in steps 1 to 4 of epoch 1" in monitor.failure
    assert WRONG_BATCH.format(1) in monitor.failure
    # The search was in the epoch that is over, and the data are where `fit` left them.
    assert data.epoch == data.last_epoch + 1


@pytest.mark.any_backend
@pytest.mark.trainable
@pytest.mark.parametrize(("every", "steps"), [(None, "steps 3 to 4"), (1, "step 4")])
def test_in_an_epoch_that_goes_on_steps_and_batches_are_those_of_the_epoch(sensitive, tmp_path, every, steps):
    def wrong_at_the_end():
        data = Windows()
        data.wrong_token, data.wrong_batch = 15, 3
        return data

    def cut(batch, logs):
        if batch == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        cutting = keras.callbacks.LambdaCallback(on_train_batch_begin=cut)
        ResumableRun(tmp_path, save_every=1).fit(sensitive, wrong_at_the_end(), 1, callbacks=[cutting], verbose=0)
    data = wrong_at_the_end()
    monitor = NumericsMonitor(data, every)
    with pytest.raises(FloatingPointError) as error:
        ResumableRun(tmp_path, save_every=1).fit(sensitive, data, 1, callbacks=[monitor], verbose=0)
    assert f"not finite in {steps} of epoch 1" in str(error.value)
    assert WRONG_BATCH.format(3) in str(error.value)
    # The next `fit` begins an epoch at its beginning.
    data.wrong_token = None
    monitor.on_train_begin()
    assert monitor.first_batch == 0


@pytest.mark.any_backend
@pytest.mark.trainable
def test_in_the_rest_of_an_epoch_too(sensitive):
    data = Windows()
    data.wrong_token, data.wrong_batch = 15, 3
    rest = RestOfEpoch(data, start=2)
    with pytest.raises(FloatingPointError) as error:
        fitted(sensitive, NumericsMonitor(rest, every=None), rest)
    assert "not finite in steps 3 to 4 of epoch 1" in str(error.value)
    assert WRONG_BATCH.format(3) in str(error.value)


@pytest.mark.trainable
def test_steps_in_groups_end_with_the_data(model, monkeypatch):
    """Of `steps_per_execution` the last are not there, and past the data there is no batch to be searched."""
    monitor = NumericsMonitor(PackedDocuments([np.ones(8, "int32")] * 4, 8, 1), every=None)
    monkeypatch.setattr(model, "steps_per_execution", 3)
    monitor.set_model(model)
    monitor.on_train_begin()
    monitor.on_epoch_begin(0)
    for batch in (0, 3):
        monitor.on_train_batch_begin(batch)
    with pytest.raises(FloatingPointError, match="not finite in steps 1 to 4 of epoch 1, loss nan: all variables are"):
        monitor.on_epoch_end(0, {"loss": np.nan})


@pytest.mark.trainable
def test_weights_that_are_not_finite_are_pointed_at(model):
    data = Windows()
    data.wrong_weight = np.nan
    with pytest.raises(FloatingPointError, match="all variables are finite.*check the targets, the weights"):
        fitted(model, NumericsMonitor(data), data)
    assert model.optimizer.dropped == 1


@pytest.mark.any_backend
@pytest.mark.trainable
@pytest.mark.parametrize(("every", "looks"), [(None, 2), (2, 6), (3, 4), (100, 2)])
def test_between_two_looks_nothing_is_computed(every, looks, monkeypatch):
    """Over two epochs of five steps, each with a look at its end."""

    class Nothing:
        first_nonfinite, decays = None, []

    walks = []
    monkeypatch.setattr(numerics_monitor, "walk_layers", lambda *arguments, **options: walks.append(1) or Nothing)
    monkeypatch.setattr(numerics_monitor, "language_model_layers", lambda model: None)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    monitor = NumericsMonitor(TOKENS, every=every)
    model.fit(np.ones((5, 1)), np.ones((5, 1)), batch_size=1, epochs=2, callbacks=[monitor], verbose=0)
    assert len(walks) == looks


def test_no_batch_is_waited_for():
    """Keras waits for each batch where a callback has a method of its own for the end of one."""
    for name in ("on_batch_end", "on_train_batch_end"):
        assert getattr(NumericsMonitor, name) is getattr(keras.callbacks.Callback, name)


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
