"""Models to generate with: one of a few lines, which counts how often its Python code runs, and a tiny Griffin."""

import random
from types import SimpleNamespace
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.models import Griffin, GriffinConfig

VOCABULARY_SIZE = 11
WIDTH = 8


class FakeState(NamedTuple):
    """What the fake has seen."""

    segment: Any  # (B,) int32: the last positive segment id, 0 before the first token
    tokens: Any  # (B,) int32
    last: Any  # (B, D) float32: what the logits are made of, here h


class FakeModel:
    """h_t = h_(t-1) / 2 + embedding[token_t], logits = h unembedding; a new document starts at h = 0.

    `runs` counts runs of `advance` in Python: calls where nothing is compiled, traces where it is.
    """

    tokenizer = None

    def __init__(self):
        generator = np.random.default_rng(0)
        self.config = SimpleNamespace(vocabulary_size=VOCABULARY_SIZE)
        self.embedding = keras.Variable(generator.normal(size=(VOCABULARY_SIZE, WIDTH)).astype("float32"))
        self.unembedding = keras.Variable(generator.normal(size=(WIDTH, VOCABULARY_SIZE)).astype("float32"))
        self.variables = [self.embedding, self.unembedding]
        self.runs = 0

    def predict(self, token_ids, verbose):
        return ops.convert_to_numpy(self.advance(token_ids, self.initial_state(len(token_ids)))[0])

    def initial_state(self, batch_size):
        nothing = ops.zeros((batch_size,), "int32")
        return FakeState(nothing, ops.copy(nothing), ops.zeros((batch_size, WIDTH)))

    def advance(self, token_ids, state, *, segment_ids=None):
        x, state = self.advance_without_logits(token_ids, state, segment_ids=segment_ids)
        return self.logits(x), state

    def logits(self, x):
        return ops.matmul(x, self.unembedding.value)

    def advance_without_logits(self, token_ids, state, *, segment_ids=None):
        self.runs += 1
        vectors = ops.take(self.embedding.value, token_ids, axis=0)
        segment, tokens, hidden = state
        outputs = []
        for step in range(token_ids.shape[1]):
            current = ops.maximum(segment, 1) if segment_ids is None else ops.convert_to_tensor(segment_ids)[:, step]
            goes_on = ops.cast(current == segment, "float32")[:, None]
            real = current > 0
            hidden = ops.where(real[:, None], goes_on * hidden / 2 + vectors[:, step], hidden)
            segment = ops.where(real, current, segment)
            tokens = tokens + ops.cast(real, "int32")
            outputs.append(hidden)
        return ops.stack(outputs, axis=1), FakeState(segment, tokens, hidden)


def scripted(rows):
    """A model whose greedy text is scripted: row r says rows[r][0], rows[r][1], ... whatever it is given."""
    rows = ops.convert_to_tensor(np.array(rows, "int32"))

    class Script:
        config = SimpleNamespace(vocabulary_size=11)
        variables = []
        tokenizer = None

        def initial_state(self, batch_size):
            return FakeState(*(ops.zeros((batch_size,), "int32") for _ in range(3)))

        def advance_without_logits(self, token_ids, state, *, segment_ids):
            count = token_ids.shape[1] if segment_ids is None else ops.sum(ops.cast(segment_ids > 0, "int32"), axis=1)
            tokens = state.tokens + count
            said = ops.take_along_axis(rows, ops.clip(tokens[:, None] - 1, 0, rows.shape[1] - 1), axis=1)
            return said, FakeState(state.segment, tokens, said[:, 0])

        def logits(self, said):
            return ops.one_hot(said, 11)

    return Script()


@pytest.fixture
def script():
    """Makes a model whose greedy text is given."""
    return scripted


def varied_model(family=Griffin, **changes):
    """A model whose text varies: its weights are larger than those of a model to be trained."""
    random.seed(0)
    arguments = {"vocabulary_size": VOCABULARY_SIZE, "width": 32, "num_layers": 2, "num_heads": 2, "window": 4}
    model = family(GriffinConfig(**{**arguments, "block_pattern": ("recurrent", "local_mqa"), **changes}))
    generator = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign_add(generator.normal(scale=0.3, size=variable.shape).astype("float32"))
    return model


MAKERS = {"fake": FakeModel, "griffin": varied_model}


@pytest.fixture(scope="session")
def varied():
    """Makes models whose text varies."""
    return varied_model


@pytest.fixture(params=MAKERS)
def make_model(request):
    return MAKERS[request.param]


@pytest.fixture(scope="session")
def griffin():
    return varied_model()


@pytest.fixture(scope="session", params=MAKERS)
def model(request):
    """A model that many tests share, with what is compiled for it; none of them changes it."""
    return request.getfixturevalue("griffin") if request.param == "griffin" else FakeModel()


@pytest.fixture
def fake():
    return FakeModel()
