"""Truncated backpropagation through time: `CarriedModel`, `CarriedWithoutLogits` and their `CarriedState`."""

import functools
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from keras_griffin.models import Griffin, MQATransformer
from keras_griffin.models.training import carried_model
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from keras_griffin.testing.compiled import compiled
from tests.models.tiny import TINY, strong

T, CHUNKS = 4, 3
LOGITS = pytest.mark.parametrize("logits", [True, False])
WAYS = pytest.mark.parametrize(("logits", "rematerialize"), [(True, False), (False, True)])


class Chunks(keras.utils.PyDataset):
    """Two rows of three chunks: a document that ends within the second, another one, and padding at the end."""

    def __init__(self, order=range(CHUNKS)):
        super().__init__()
        rng = np.random.default_rng(0)
        self.tokens = rng.integers(0, 13, (2, CHUNKS * T + 1)).astype("int32")
        self.segments = np.ones((2, CHUNKS * T), "int32")
        self.segments[0, 6:] = 2
        self.segments[1, 9:] = 0
        self.order = tuple(order)

    @property
    def num_batches(self):
        return len(self.order)

    def __getitem__(self, index):
        chunk = self.order[index]
        steps = slice(chunk * T, chunk * T + T)
        x = {
            "token_ids": self.tokens[:, :-1][:, steps],
            "segment_ids": self.segments[:, steps],
            "chunk": np.full(2, chunk, "int32"),
        }
        return x, self.tokens[:, 1:][:, steps], (self.segments[:, steps] > 0).astype("float32")

    def whole(self):
        """All chunks as one batch of `packed`."""
        x = {"token_ids": self.tokens[:, :-1], "segment_ids": self.segments}
        return x, self.tokens[:, 1:], (self.segments > 0).astype("float32")


def made(family=Griffin, **kwargs):
    return strong(family(TINY, **kwargs))


@functools.cache
def shared():
    """A model for tests that see no number of it, with what is compiled for it."""
    return made().carried(2)


def test_chunks_give_what_one_long_pass_gives():
    model, chunks = made(), Chunks()
    carried = model.carried(2)
    pieces = carried.predict(chunks, verbose=0)
    pieces = np.concatenate(np.split(np.asarray(pieces), CHUNKS), axis=1)
    x, _, weights = chunks.whole()
    expected = as_array(compiled(model.packed())(x))
    assert_close(pieces[weights > 0], expected[weights > 0])


@pytest.mark.trainable
@WAYS
def test_fit_sees_the_losses_of_one_long_pass(logits, rematerialize):
    model, chunks = made(rematerialize=rematerialize), Chunks()
    carried = model.carried(2, logits=logits)
    carried.optimizer.learning_rate = 0.0
    losses = []
    record = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: losses.append(logs["loss"]))
    history = carried.fit(chunks, epochs=2, verbose=0, callbacks=record, validation_data=chunks).history
    x, targets, weights = chunks.whole()
    logits_of_all = compiled(model.packed())(x)
    nats = keras.losses.sparse_categorical_crossentropy(targets, logits_of_all, from_logits=True)
    per_chunk = [
        np.average(as_array(nats)[:, k * T : k * T + T], weights=weights[:, k * T : k * T + T]) for k in range(CHUNKS)
    ]
    # In both epochs, and again in the validation between them: none disturbs another. The log has means so far.
    expected = np.cumsum(per_chunk) / np.arange(1, CHUNKS + 1)
    assert_close(np.array(losses), np.tile(expected, 2), "float32")
    assert_close(np.array(history["val_loss"]), np.full(2, expected[-1]), "float32")
    if not logits:
        # The mean over tokens, where the loss is the mean of the chunks' means.
        bits = np.average(as_array(nats), weights=weights) / np.log(2)
        assert_close(np.array(history["val_bits"]), np.full(2, bits), "float32")


@pytest.mark.trainable
@WAYS
def test_the_gradient_ends_where_the_chunk_begins(logits, rematerialize):
    """A step of gradient descent is the slope of the loss with the state before the chunk held fast."""
    model, chunks = made(rematerialize=rematerialize), Chunks()
    before = model.get_weights()
    carried = model.carried(2, logits=logits)
    carried.compile(keras.optimizers.SGD(0.0), **({"loss": model.loss} if logits else {}))
    carried.train_on_batch(*chunks[0])
    carried.optimizer.learning_rate = 1.0
    carried.train_on_batch(*chunks[1])
    steps = [new - old for new, old in zip(model.get_weights(), before, strict=True)]

    def loss(scale, through_the_state=False):
        """The second chunk's loss with moved weights; the state before it is theirs too, or that of the first ones."""
        moved = [old + scale * step for old, step in zip(before, steps, strict=True)]
        model.set_weights(moved if through_the_state else before)
        carried.test_on_batch(*chunks[0])
        model.set_weights(moved)
        return carried.test_on_batch(*chunks[1], return_dict=True)["loss"]

    size = sum(np.sum(step.astype("float64") ** 2) for step in steps)
    small = 0.003 / np.sqrt(size)
    slope, whole = (
        (float(loss(small, through)) - float(loss(-small, through))) / (2 * small) for through in (False, True)
    )
    # float32 and a finite step; the whole gradient is off by more.
    np.testing.assert_allclose(slope, -size, rtol=1e-3)
    assert abs(whole + size) > 5e-3 * size


@pytest.mark.trainable
def test_a_saved_state_goes_on(tmp_path):
    model, chunks = made(), Chunks()
    carried = model.carried(2)
    carried.optimizer.learning_rate = 0.0
    losses = [float(carried.train_on_batch(*chunks[k])) for k in range(CHUNKS)]
    carried.train_on_batch(*chunks[0])
    carried.train_on_batch(*chunks[1])
    carried.save_weights(tmp_path / "carried.weights.h5")
    other = made().carried(2)
    other.optimizer.learning_rate = 0.0
    other.optimizer.build(other.trainable_variables)
    other.load_weights(tmp_path / "carried.weights.h5")
    np.testing.assert_allclose(float(other.train_on_batch(*chunks[2])), losses[2], rtol=1e-6)
    assert int(as_array(other.carried.out_of_order)) == 0


@LOGITS
def test_a_saved_model_is_rebuilt_with_its_state(tmp_path, logits):
    chunks = Chunks()
    carried = made().carried(2, logits=logits)
    carried.predict_on_batch(chunks[0][0])
    carried.save(tmp_path / "carried.keras")
    other = keras.saving.load_model(tmp_path / "carried.keras")
    for x in (chunks[1][0], chunks[2][0]):
        np.testing.assert_array_equal(carried.predict_on_batch(x), other.predict_on_batch(x))
    assert type(other) is type(carried)


@pytest.mark.trainable
def test_the_state_keeps_its_dtypes_in_mixed_precision():
    model, chunks = made(dtype="mixed_bfloat16"), Chunks()
    carried = model.carried(2, logits=False)
    carried.fit(chunks, verbose=0)
    expected = [keras.backend.standardize_dtype(leaf.dtype) for leaf in keras.tree.flatten(model.initial_state(2))]
    actual = [variable.dtype for variable in carried.carried.non_trainable_variables]
    assert actual == [*expected, "int32", "int32"]
    assert "float32" in expected and "bfloat16" in expected


@pytest.mark.any_backend
@pytest.mark.trainable
@pytest.mark.parametrize("order", [(0, 2), (0, 1, 1)])
def test_chunks_out_of_order(order):
    carried = shared()
    with pytest.raises(ValueError, match=r"fit: each row must be chunk 0 .* Got 2 rows that were not\.$"):
        carried.fit(Chunks(order), verbose=0)
    # What came before is forgotten.
    carried.fit(Chunks(), verbose=0)


@pytest.mark.trainable
def test_chunks_out_of_order_in_validation():
    carried = shared()
    with pytest.raises(ValueError, match="evaluate: each row must be chunk 0 .* Got 2 rows that were not"):
        carried.fit(Chunks(), validation_data=Chunks((0, 2)), verbose=0)
    carried.fit(Chunks(), validation_data=Chunks(), verbose=0)


def test_a_state_that_grows():
    with pytest.raises(ValueError, match="CarriedModel: no mixer's state may grow. Got the block pattern global_mqa"):
        MQATransformer(TINY).carried(2)


def test_rows_that_a_strategy_would_divide(monkeypatch):
    """A real strategy is tried in `tests/distribution/test_mirrored.py`, in a process of its own."""
    strategy = SimpleNamespace(num_replicas_in_sync=2)
    monkeypatch.setattr(carried_model.CarriedModel, "distribute_strategy", strategy, raising=False)
    with pytest.raises(ValueError, match="CarriedModel: the rows whose state .* TensorFlow. Got one of 2 replicas."):
        made().carried(2)


@pytest.mark.parametrize("batch_size", [0, -1, True, 2.0, "8", None])
def test_a_batch_size_that_is_none(batch_size):
    with pytest.raises(ValueError, match=rf"^CarriedModel: batch_size must be an integer .* Got {batch_size!r}\.$"):
        made().carried(batch_size)


def test_a_batch_of_another_size():
    x = {name: array[:1] for name, array in Chunks()[0][0].items()}
    with pytest.raises(ValueError, match="CarriedModel: every batch must have the 2 rows whose .* Got 1 in token_ids"):
        made().carried(2).predict_on_batch(x)
