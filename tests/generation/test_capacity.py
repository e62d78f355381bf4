"""States that grow, in generation: as if they had no empty places, and few shapes."""

import keras
import numpy as np
import pytest

from keras_griffin.generation import generate
from keras_griffin.generation.capacity import grows
from keras_griffin.models import MQATransformer
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
def model(varied):
    return varied(Counting)


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
