import keras
import numpy as np
import pytest

from keras_griffin.generation.prompt import left_pad, read_prompt, read_stop_ids


@pytest.mark.parametrize(
    "prompt",
    [
        [[1, 2, 3], [4]],
        ([1, 2, 3], (4,)),
        [np.array([1, 2, 3]), np.array([4], "uint8")],
        [keras.ops.convert_to_tensor([1, 2, 3]), [4]],
    ],
)
def test_rows_come_from_lists_arrays_and_tensors(prompt):
    rows = read_prompt(prompt, 5)
    assert [row.tolist() for row in rows] == [[1, 2, 3], [4]]


def test_an_array_is_its_rows():
    array = np.array([[1, 2], [3, 4]])
    for prompt in (array, keras.ops.convert_to_tensor(array), array.astype("int64")):
        assert [row.tolist() for row in read_prompt(prompt, 5)] == [[1, 2], [3, 4]]


OUTSIDE = "must be at least 0 and below the vocabulary's size 5"


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [
        ([], "the prompt must have at least one row. Got none."),
        (np.zeros((0, 3), "int32"), "the prompt must have at least one row. Got none."),
        ([1, 2], "the prompt must be (B, T) ids or a list of rows of ids. Got row 0 of shape ()."),
        (np.array([1, 2]), "the prompt must be (B, T) ids or a list of rows of ids. Got row 0 of shape ()."),
        ("def ", "the prompt must be (B, T) ids or a list of rows of ids. Got row 0 of shape ()."),
        (
            np.zeros((2, 3, 4), "int32"),
            "the prompt must be (B, T) ids or a list of rows of ids. Got row 0 of shape (3, 4).",
        ),
        ([[1, 2], []], "every row of the prompt must hold at least one id. Got none in row 1."),
        (np.zeros((2, 0), "int32"), "every row of the prompt must hold at least one id. Got none in row 0."),
        ([[1.0, 2.0]], "the ids of the prompt must be integers. Got float64."),
        (np.ones((1, 2), bool), "the ids of the prompt must be integers. Got bool."),
        ([[1], [2, 5]], f"the ids of the prompt {OUTSIDE}. Got 5."),
        ([[-1]], f"the ids of the prompt {OUTSIDE}. Got -1."),
        (np.array([[2**40]]), f"the ids of the prompt {OUTSIDE}. Got {2**40}."),
    ],
)
def test_a_wrong_prompt_gets_one_sentence(prompt, sentence):
    with pytest.raises(ValueError) as error:
        read_prompt(prompt, 5)
    assert str(error.value) == f"generate: {sentence}"


def test_stop_ids_are_any_collection_of_ids():
    for stop_ids in ((1, 4), [1, 4], {1, 4}, np.array([1, 4]), range(1, 5, 3)):
        assert sorted(read_stop_ids(stop_ids, 5)) == [1, 4]
    assert read_stop_ids((), 5).size == 0


@pytest.mark.parametrize(
    ("stop_ids", "sentence"),
    [
        (3, "stop_ids must be a collection of ids. Got 3."),
        ([5], f"stop_ids {OUTSIDE}. Got 5."),
        ([-1], f"stop_ids {OUTSIDE}. Got -1."),
        ([0.5], "stop_ids must be integers. Got float64."),
    ],
)
def test_wrong_stop_ids_get_one_sentence(stop_ids, sentence):
    with pytest.raises(ValueError) as error:
        read_stop_ids(stop_ids, 5)
    assert str(error.value) == f"generate: {sentence}"


@pytest.mark.parametrize(
    ("longest", "columns"), [(1, 1), (2, 2), (3, 3), (4, 5), (5, 5), (6, 9), (9, 9), (10, 17), (17, 17), (18, 33)]
)
def test_the_columns_before_the_last_are_a_power_of_two(longest, columns):
    rows = [np.arange(longest), np.array([7])]
    token_ids, mask = left_pad(rows, bucketed=True)
    assert token_ids.shape == mask.shape == (2, columns)
    assert left_pad(rows, bucketed=False)[0].shape == (2, longest)


def test_rows_end_together():
    token_ids, mask = left_pad([np.array([3, 4, 5, 6]), np.array([7])], bucketed=True)
    np.testing.assert_array_equal(token_ids, [[0, 3, 4, 5, 6], [0, 0, 0, 0, 7]])
    np.testing.assert_array_equal(mask, [[False, True, True, True, True], [False, False, False, False, True]])
    assert (token_ids.dtype, mask.dtype) == ("int32", bool)
