"""A document whose vectors are not finite touches no number of later ones: packed, served, carried, and backward.

The vectors are those of token 0, which stands in earlier documents and at padding, and nowhere else. Its row is the
head's too, so that the logit of token 0 is not compared.
"""

import itertools

import numpy as np
import pytest
from keras import ops

from keras_griffin.models import Griffin
from keras_griffin.models.documents import document_boundaries
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from keras_griffin.testing.compiled import compiled
from keras_griffin.testing.gradients import value_and_gradient
from tests.models.tiny import TINY, strong

CONFIG = TINY.replace(num_layers=3, block_pattern=("recurrent", "local_mqa", "recurrent"))
T = 24
#: Of what is added up or squared, not even its product with zero is a number.
VALUES = (np.nan, np.inf, -np.inf, 3e38)
# What NumPy says of infinity less infinity.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


@pytest.fixture(scope="module")
def model():
    return strong(Griffin(CONFIG))


@pytest.fixture
def poisoned(model):
    """The model with a row of the table that is not finite, and then as it was."""
    (table,) = model.token_embedding.trainable_variables
    before = as_array(table)

    def poison(value):
        rows = before.copy()
        rows[0] = value
        table.assign(rows)

    yield poison
    table.assign(before)


def rows(seed):
    """Two rows of documents of random lengths with padding anywhere, every other document with token 0 in it."""
    generator = np.random.default_rng(seed)
    tokens, segments = np.zeros((2, 2, T), "int32")
    for row in range(2):
        ends = np.sort(generator.choice(np.arange(3, T - 3), 3, replace=False))
        for number, place in enumerate(np.split(np.arange(T), ends)):
            is_clean = number % 2 == 1
            tokens[row, place] = generator.integers(1 if is_clean else 0, 13, len(place))
            tokens[row, place[0]] = 1 if is_clean else 0
            segments[row, place] = number + 1
        padding = generator.random(T) < 0.2
        tokens[row, padding], segments[row, padding] = 0, 0
    return tokens, segments


def clean_documents(tokens, segments):
    """The row, the steps and the tokens of each document without token 0."""
    for row in range(2):
        for segment in (2, 4):
            steps = np.flatnonzero(segments[row] == segment)
            if len(steps):
                yield row, steps, tokens[row, steps]


def alone(model, tokens):
    """The logits of a document of any length, computed at one length: what follows touches nothing."""
    padded = np.ones((1, T), "int32")
    padded[0, : len(tokens)] = tokens
    return as_array(model.predict_on_batch(padded))[0, : len(tokens), 1:]


def test_later_documents_forward(model, poisoned):
    """Packed, carried from batch to batch, and served in pieces."""
    tokens, segments = rows(0)
    x, parts = {"token_ids": tokens, "segment_ids": segments}, [slice(start, start + 8) for start in range(0, T, 8)]
    expected = [(row, steps, alone(model, document)) for row, steps, document in clean_documents(tokens, segments)]
    assert len(expected) >= 3
    packed, carried, advance = model.packed(), model.carried(2), compiled(model.advance)
    for value in VALUES:
        poisoned(value)
        outputs, pieces = [as_array(packed.predict_on_batch(x))], []
        for chunk, part in enumerate(parts):
            piece = {**{name: ids[:, part] for name, ids in x.items()}, "chunk": np.full(2, chunk, "int32")}
            pieces.append(as_array(carried.predict_on_batch(piece)))
        outputs.append(np.concatenate(pieces, axis=1))
        if np.isnan(value):
            # Compiled, it keeps the first weights that it sees.
            state, pieces = model.initial_state(2), []
            for part in parts:
                logits, state = advance(tokens[:, part], state, segment_ids=segments[:, part])
                pieces.append(as_array(logits))
            outputs.append(np.concatenate(pieces, axis=1))
        for actual in outputs:
            # The norm makes zeros of 3e38, whose square is infinite.
            assert np.isfinite(actual[:, :, 1:]).all() == (value == 3e38)
            for row, steps, wanted in expected:
                assert_close(actual[row, steps, 1:], wanted)


def backward(layers):
    """Compare the gradient of a later document's outputs, for its vectors, with and without what is not finite."""
    first, last = 10, 20
    places = slice(0, first), slice(2, 5), slice(last, T)
    vectors, towards = np.random.default_rng(2).normal(size=(2, T, 16)).astype("float32")
    # Row 0 is finite.
    batch = np.stack([vectors] * (1 + len(VALUES) * len(places)))
    for row, (value, place) in enumerate(itertools.product(VALUES, places), start=1):
        batch[row, place] = value
    segments = np.repeat([[1, 2, 3]], [first, last - first, T - last], axis=1).repeat(len(batch), axis=0)
    reset = document_boundaries(ops.convert_to_tensor(segments), ops.zeros((len(batch),), "int32")).reset
    towards = ops.convert_to_tensor(towards[first:last])

    def loss(x):
        for layer in layers:
            x = layer(x, reset=reset)
        return ops.sum(x[:, first:last] * towards)

    _, (gradient,) = value_and_gradient(loss, batch)
    for row in gradient[1:]:
        assert_close(row[first:last], gradient[0, first:last])


@pytest.mark.trainable
def test_later_documents_backward(model):
    """An earlier step of a block with attention may have finite keys, and yet get a gradient that is not finite."""
    blocks = model.blocks
    for layers in ([blocks[0], blocks[2]], [blocks[1].mixer], blocks[1:]):
        backward(layers)
