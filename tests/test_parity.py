"""The judge of `make parity` fails what must fail."""

import pytest

from parity.ask import is_as_known
from parity.questions import REFUSES, WRONG
from parity.rows import LIMIT, row, table

pytestmark = pytest.mark.any_backend


@pytest.mark.parametrize(
    ("value", "ok"), [(0.0, True), (LIMIT, True), (1.1 * LIMIT, False), (float("nan"), False)], ids=str
)
def test_a_row_holds_within_its_limit(value, ok):
    text, all_ok = table({"jax": [row("base", "logits", "reference", value)]})
    assert all_ok == ok
    assert text.splitlines()[-1] == f"1 comparisons, {int(not ok)} failed"


def test_one_failing_column_fails_the_row():
    text, ok = table({"jax": [row("a", "b", "c", 0)], "torch": [row("a", "b", "c", 1)]})
    assert not ok and "FAILED" in text


def test_a_column_without_rows_fails():
    text, ok = table({"jax": [row("a", "b", "c", 0)], "torch": []})
    assert not ok and text.endswith("of torch there is nothing")


@pytest.mark.parametrize(
    ("fault", "error", "known"),
    [
        (None, LIMIT, True),
        (None, 1.0, False),
        (None, "RuntimeError", False),
        (WRONG, 1.0, True),
        (WRONG, LIMIT, False),
        (WRONG, "RuntimeError", False),
        (REFUSES, "RuntimeError", True),
        (REFUSES, 1.0, False),
        (REFUSES, 0.0, False),
    ],
)
def test_a_reference_is_as_it_is_known_to_be(fault, error, known):
    assert is_as_known({"fault": fault, "error": error}, LIMIT) == known
