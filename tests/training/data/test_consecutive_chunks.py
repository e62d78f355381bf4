import keras
import numpy as np
import pytest

from keras_griffin.models import Griffin, GriffinConfig
from keras_griffin.testing.arrays import as_array
from keras_griffin.training import ConsecutiveChunks, ResumableRun


def some_documents(lengths, seed=0):
    """Documents whose tokens all differ: 100 times the document's number, and up."""
    return [100 * (number + 1) + np.arange(length) for number, length in enumerate(lengths)]


@pytest.mark.any_backend
@pytest.mark.parametrize("lengths", [[2], [1, 1], [3, 0, 5, 1, 9], [64, 1, 2, 63]])
@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("sequence_length", [1, 4, 7])
def test_every_token_but_the_first_of_each_document_is_predicted_once(lengths, batch_size, sequence_length):
    documents = some_documents(lengths)
    chunks = ConsecutiveChunks(documents, sequence_length, batch_size, seed=3)
    seen = []
    for k in range(chunks.num_batches):
        x, targets, weights = chunks[k]
        assert x["token_ids"].shape == x["segment_ids"].shape == targets.shape == (batch_size, sequence_length)
        np.testing.assert_array_equal(x["chunk"], np.full(batch_size, k))
        predicted = weights > 0
        # The tokens of a document differ by one, and a document's last is followed by another hundred.
        np.testing.assert_array_equal(targets[predicted], x["token_ids"][predicted] + 1)
        assert (x["segment_ids"][predicted] > 0).all()
        seen += targets[predicted].tolist()
    assert sorted(seen) == sorted(token for document in documents for token in document[1:].tolist())


@pytest.mark.any_backend
def test_rows_go_on_from_batch_to_batch():
    chunks = ConsecutiveChunks(some_documents([30, 11, 23]), sequence_length=4, batch_size=2, shuffle=False)
    rows = np.concatenate([chunks[k][0]["token_ids"] for k in range(chunks.num_batches)], axis=1)
    segments = np.concatenate([chunks[k][0]["segment_ids"] for k in range(chunks.num_batches)], axis=1)
    text = np.concatenate(some_documents([30, 11, 23]))
    padded = np.zeros(rows.size, int)
    # The last token is only predicted, unless the rows have room for it.
    padded[: len(text)] = text[: rows.size]
    np.testing.assert_array_equal(rows.ravel(), padded)
    np.testing.assert_array_equal(segments.ravel(), padded // 100)


@pytest.mark.any_backend
def test_a_batch_depends_on_seed_epoch_and_index_alone():
    documents = some_documents([5, 6, 7, 8, 9, 10, 11])

    def batch(seed, epoch, index):
        chunks = ConsecutiveChunks(documents, 3, 2, seed=seed)
        chunks.epoch = epoch
        return str(chunks[index][0]["token_ids"].tolist())

    chunks = ConsecutiveChunks(documents, 3, 2)
    chunks[3]
    for _ in range(2):
        chunks.on_epoch_end()
    assert str(chunks[1][0]["token_ids"].tolist()) == batch(0, 2, 1)
    assert len({batch(0, 2, 1), batch(1, 2, 1), batch(0, 3, 1), batch(0, 2, 2)}) == 4


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[1, 2]], 0, 1), "sequence_length must be an integer of at least 1. Got 0."),
        (([[1, 2]], 1, 0), "batch_size must be an integer of at least 1. Got 0."),
        (([[1, 2]], 1, 1, -1), "seed must be an integer of at least 0. Got -1."),
        (([[1], []], 1, 1), "documents must have at least 2 tokens. Got 1."),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=f"ConsecutiveChunks: {message}"):
        ConsecutiveChunks(*arguments)


@pytest.mark.any_backend
def test_wrong_documents():
    with pytest.raises(ValueError, match="ConsecutiveChunks: token ids must be from 0 to 4. Got ids from 1 to 5"):
        ConsecutiveChunks([[1, 2, 5]], 2, 1, vocabulary_size=5)[0]
    with pytest.raises(ValueError, match="ConsecutiveChunks: token ids must be at least 0. Got ids from -1 to 2"):
        ConsecutiveChunks([[1, 2, -1]], 2, 1)[0]
    with pytest.raises(ValueError, match="ConsecutiveChunks: a document must be integers"):
        ConsecutiveChunks([[1.0, 2.0]], 2, 1)
    with pytest.raises(ValueError, match="ConsecutiveChunks: documents must be a sequence"):
        ConsecutiveChunks(iter([[1, 2]]), 2, 1)
    with pytest.raises(IndexError, match="ConsecutiveChunks: a batch's index must be from 0 to 0. Got 1"):
        ConsecutiveChunks([[1, 2]], 2, 1)[1]


class _Stop(keras.callbacks.Callback):
    """Cut a run off after so many batches."""

    def __init__(self, after):
        super().__init__()
        self.left = after

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if not self.left:
            raise InterruptedError


@pytest.mark.trainable
@pytest.mark.parametrize("process", ["another process", "the same object"])
def test_a_run_that_was_cut_off_goes_on_with_the_carried_state(tmp_path, process):
    """After Ctrl-C in a notebook, it goes on with the dataset that it was cut off with."""
    rng = np.random.default_rng(0)
    documents = [rng.integers(13, size=length) for length in (30, 5, 41)]
    config = GriffinConfig(vocabulary_size=13, width=16, num_layers=1, num_heads=2, num_gate_blocks=4)
    weights = Griffin(config).get_weights()

    def new_chunks():
        return ConsecutiveChunks(documents, sequence_length=7, batch_size=2)

    def fit(folder, chunks, *callbacks):
        model = Griffin(config)
        model.set_weights(weights)
        run = ResumableRun(tmp_path / folder, save_every=2)
        carried = model.carried(2, logits=False)
        history = run.fit(carried, chunks, epochs=2, callbacks=callbacks, verbose=0).history
        return history, [as_array(variable) for variable in carried.variables]

    expected, variables = fit("undisturbed", new_chunks())
    chunks = new_chunks()
    with pytest.raises(InterruptedError):
        fit("cut", chunks, _Stop(after=9))
    history, resumed = fit("cut", new_chunks() if process == "another process" else chunks)
    assert history == expected
    for one, other in zip(variables, resumed, strict=True):
        np.testing.assert_array_equal(one, other)
