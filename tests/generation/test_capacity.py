"""States that grow, in generation: as if they had no empty places, and few shapes."""

import random
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest

from keras_griffin.generation import concatenate, generate
from keras_griffin.generation.capacity import grows
from keras_griffin.models import Griffin, GriffinConfig, MQATransformer
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.compiled import compiled

PROMPT = np.array([[1, 5, 2], [3, 3, 7]])
#: More than the room that is made at first.
MANY = 70


class Counting(MQATransformer):
    """It counts how often its Python code runs: calls where nothing is compiled, traces where it is."""

    runs = 0

    def advance_without_logits(self, *arguments, **options):
        Counting.runs += 1
        return super().advance_without_logits(*arguments, **options)


@pytest.fixture(scope="module")
def model():
    random.seed(0)
    model = Counting(GriffinConfig(vocabulary_size=11, width=16, num_layers=2, num_heads=2))
    generator = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign_add(generator.normal(scale=0.4, size=variable.shape).astype("float32"))
    return model


def test_the_text_is_that_of_one_pass_without_a_state(model):
    assert grows(model.initial_state(2))
    Counting.runs = 0
    made = generate(model, PROMPT, MANY)
    likeliest = as_array(compiled(model)(made.astype("int32"))).argmax(-1)
    np.testing.assert_array_equal(made[:, 3:], likeliest[:, 2:-1])
    assert len(np.unique(made[:, 3:])) > 2, "a text that varies, or nothing is shown"
    # Two sizes, and in the first the prompt besides.
    assert keras.backend.backend() not in ("jax", "tensorflow") or Counting.runs <= 3


def test_a_returned_state_has_no_empty_places_and_goes_on(model):
    whole = generate(model, PROMPT, 12)
    first, state = generate(model, PROMPT, 5, return_state=True)
    assert {leaf.shape[1] for leaf in keras.tree.flatten(state.blocks)} == {first.shape[1]}
    rest = generate(model, whole[:, 8:9], 6, state=state)
    np.testing.assert_array_equal(np.concatenate([first, rest], axis=1), whole[:, :15])


def test_a_ragged_row_gets_what_it_gets_alone(model):
    rows = [[1], [2, 3, 4, 5, 6], [7, 7]]
    for row, made in zip(rows, generate(model, rows, 6), strict=True):
        np.testing.assert_array_equal(made, generate(model, [row], 6)[0])


def test_rows_that_stop_or_are_made_by_other_threads_are_as_alone(model):
    rows = [[1], [2, 3, 4, 5, 6], [7, 7], [8, 1, 2]]
    alone = [generate(model, [row], MANY)[0][len(row) :] for row in rows]
    stop = int(alone[1][20])
    made = generate(model, rows, MANY, stop_ids=[stop])
    for row, free, stopped in zip(rows, alone, made, strict=True):
        end = next((place for place, token in enumerate(free) if token == stop), MANY - 1) + 1
        np.testing.assert_array_equal(stopped[len(row) :][:end], free[:end])
    with ThreadPoolExecutor(8) as pool:
        for _ in range(2):
            threads = list(pool.map(lambda row: generate(model, [row], MANY)[0][len(row) :], rows * 2))
            np.testing.assert_array_equal(threads, alone * 2)


def test_a_state_of_no_taps_is_none_that_grows():
    """A convolution of one tap keeps `(B, 0, D)`, and a growing state without a step has that shape too."""
    config = GriffinConfig(vocabulary_size=11, width=16, num_layers=1, num_heads=2, window=4, conv_kernel_size=1)
    model = Griffin(config)
    assert not grows(model.initial_state(2))
    made, state = generate(model, PROMPT, 5, return_state=True)
    likeliest = as_array(model(made)).argmax(-1)
    np.testing.assert_array_equal(made[:, 3:], likeliest[:, 2:-1])
    assert state.blocks[0].conv.inputs.shape == (2, 0, 16)
    twice = concatenate([state, model.prefill([[4]])])
    assert twice.blocks[0].conv.inputs.shape == (3, 0, 16)
    logits = as_array(model(PROMPT)).astype("float64")
    logarithms = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = np.take_along_axis(logarithms[:, :-1], PROMPT[:, 1:, None], axis=-1)[..., 0]
    np.testing.assert_allclose(model.score(PROMPT)[:, 1:], expected, atol=1e-5)
