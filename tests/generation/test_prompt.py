import keras
import numpy as np
import pytest

from keras_griffin.generation.prompt import CHUNK, chunks, is_text, read_prompt, read_stop_ids, start_empty_rows
from keras_griffin.tokenizers import ByteTokenizer

pytestmark = pytest.mark.any_backend


@pytest.mark.parametrize(
    "prompt",
    [
        [[1, 2, 3], [4]],
        ([1, 2, 3], (4,)),
        [np.array([1, 2, 3]), np.array([4], "uint8")],
        [keras.ops.convert_to_tensor([1, 2, 3]), [4]],
        np.array([[1, 2], [3, 4]]),
        keras.ops.convert_to_tensor([[1, 2], [3, 4]]),
    ],
)
def test_rows_come_from_lists_arrays_and_tensors(prompt):
    rows = [row.tolist() for row in read_prompt("generate", prompt, 5)]
    assert rows == ([[1, 2], [3, 4]] if hasattr(prompt, "shape") else [[1, 2, 3], [4]])


OUTSIDE = "must be at least 0 and below the vocabulary's size 5"


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [
        ([], "the prompt must have at least one row. Got none."),
        (np.zeros((0, 3), "int32"), "the prompt must have at least one row. Got none."),
        (np.array([1, 2]), "the prompt must be (B, T) ids or a list of rows of ids. Got row 0 of shape ()."),
        (
            "def ",
            "a model must have a tokenizer to take text; set model.tokenizer, or give token ids. Got 'def '.",
        ),
        (
            np.zeros((2, 3, 4), "int32"),
            "the prompt must be (B, T) ids or a list of rows of ids. Got row 0 of shape (3, 4).",
        ),
        ([[1.0, 2.0]], "the ids of the prompt must be integers. Got float64."),
        (np.ones((1, 2), bool), "the ids of the prompt must be integers. Got bool."),
        ([[1, [2, 3]]], "a row of the prompt must be integers. Got [1, [2, 3]]."),
        ([[1], [2, 5]], f"the ids of the prompt {OUTSIDE}. Got 5."),
        ([[-1]], f"the ids of the prompt {OUTSIDE}. Got -1."),
        (np.array([[2**40]]), f"the ids of the prompt {OUTSIDE}. Got {2**40}."),
    ],
)
def test_a_wrong_prompt_gets_one_sentence(prompt, sentence):
    with pytest.raises(ValueError) as error:
        read_prompt("generate", prompt, 5)
    assert str(error.value) == f"generate: {sentence}"


def test_stop_ids_are_any_collection_of_ids():
    for stop_ids in ((1, 4), [1, 4], {1, 4}, np.array([1, 4]), range(1, 5, 3)):
        assert sorted(read_stop_ids("generate", stop_ids, 5)) == [1, 4]
    assert read_stop_ids("generate", (), 5).size == 0


@pytest.mark.parametrize(
    ("stop_ids", "sentence"),
    [
        (3, "stop_ids must be a collection of ids. Got 3."),
        ("", "stop_ids must be a collection of ids. Got ''."),
        ([[1, 2]], "stop_ids must be a collection of ids. Got [[1, 2]]."),
        ([[1], [2, 3]], "stop_ids must be integers. Got [[1], [2, 3]]."),
        ([True], "stop_ids must be integers. Got bool."),
        ([5], f"stop_ids {OUTSIDE}. Got 5."),
    ],
)
def test_wrong_stop_ids_get_one_sentence(stop_ids, sentence):
    with pytest.raises(ValueError) as error:
        read_stop_ids("generate", stop_ids, 5)
    assert str(error.value) == f"generate: {sentence}"


def test_text_is_encoded_with_a_start_token_where_it_is_the_first():
    class Tokenizer:
        def encode(self, text, *, start=True):
            return [4] * start + [len(word) for word in text.split()]

    rows = read_prompt("generate", ["a bb", "ccc"], 5, Tokenizer(), seen=np.array([0, 7]))
    assert [row.tolist() for row in rows] == [[4, 1, 2], [3]]
    assert [row.tolist() for row in read_prompt("generate", "a bb", 5, Tokenizer())] == [[4, 1, 2]]
    assert is_text("") and is_text(["a", "b"]) and not is_text([]) and not is_text([[1]])


def test_an_empty_row_begins_with_the_start_token_unless_it_goes_on():
    rows = [np.array([3]), np.zeros(0, "int32"), np.zeros(0, "int32")]
    assert [row.tolist() for row in start_empty_rows("generate", rows, np.array([0, 0, 5]), ByteTokenizer())] == [
        [3],
        [10],
        [],
    ]
    with pytest.raises(ValueError) as error:
        start_empty_rows("generate", rows, np.array([0, 0, 5]), None)
    assert str(error.value) == (
        "generate: an empty row must begin with a start token, and the model has no tokenizer with one: put its id "
        "into the row. Got none in row 1."
    )


@pytest.mark.parametrize(("longest", "columns"), [(1, 1), (2, 2), (3, 4), (4, 4), (5, 8), (9, 16), (CHUNK, CHUNK)])
def test_a_short_prompt_is_one_chunk_whose_length_is_a_power_of_two(longest, columns):
    rows = [np.arange(longest), np.array([7])]
    ((token_ids, mask),) = chunks(rows, bucketed=True)
    assert token_ids.shape == mask.shape == (2, columns)
    ((token_ids, mask),) = chunks(rows, bucketed=False)
    assert token_ids.shape == mask.shape == (2, longest)


@pytest.mark.parametrize("bucketed", [True, False])
@pytest.mark.parametrize("length", [CHUNK + 1, 2 * CHUNK, 3 * CHUNK - 5])
def test_a_long_prompt_is_cut(length, bucketed):
    rows = [np.arange(length), np.arange(CHUNK + 1), np.arange(3)]
    pieces = list(chunks(rows, bucketed))
    assert len(pieces) == -(-length // CHUNK)
    assert all(ids.shape == (3, CHUNK) for ids, _ in pieces[1:])
    assert pieces[0][0].shape[1] == (CHUNK if bucketed else (length - 1) % CHUNK + 1)
    for index, row in enumerate(rows):
        real = [ids[index] if mask is None else ids[index][mask[index]] for ids, mask in pieces]
        np.testing.assert_array_equal(np.concatenate(real), row)
    (_, first), (_, last) = pieces[0], list(chunks(rows[:1], bucketed))[-1]
    assert first is not None and last is None, "a mask only where it is needed, and always in the first"
