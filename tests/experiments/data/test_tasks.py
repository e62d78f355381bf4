import pytest

from experiments.data.associative_recall import associative_recall
from experiments.data.last_mark import last_mark
from experiments.data.list_operations import list_operations
from experiments.data.phonebook import phonebook
from tests.tasks.check_task import check_task

TASKS = {
    "associative_recall": lambda **seed: associative_recall(2, 32, 4, vocabulary_size=64, **seed),
    "phonebook": lambda **seed: phonebook(2, 3, 1, name_length=2, **seed),
    "last_mark": lambda **seed: last_mark(2, 32, **seed),
    "list_operations": lambda **seed: list_operations(2, 32, **seed),
}


@pytest.mark.any_backend
@pytest.mark.parametrize("name", TASKS)
def test_a_batch_has_the_shapes_and_dtypes_of_a_task_and_its_rows_follow_from_the_seed(name):
    check_task(name, TASKS[name], (2, 32))
