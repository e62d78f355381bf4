import math

import pytest

from experiments.harness.table import Row, Table

pytestmark = pytest.mark.any_backend

ROWS = [
    ("a", "Hawk", "0", "0.001", "4 in 32", "0", "parameters", "273408"),
    ("a", "Hawk", "0", "0.001", "4 in 32", "100", "token_accuracy", "0.5"),
    ("a", "Hawk", "0", "0.001", "4 in 32", "200", "token_accuracy", "0.96"),
    ("a", "Hawk", "0", "0.001", "4 in 64", "200", "test_token_accuracy", "0.25"),
    ("b", "MQA", "1", "0.002", "8 in 64", "0", "parameters", "239808"),
    ("b", "MQA", "1", "0.002", "8 in 64", "300", "machine", 'a "machine", of 2 cores'),
]


def test_a_table_is_read_as_it_was_written(tmp_path):
    Table(ROWS).write(tmp_path / "table.csv")
    assert [tuple(row) for row in Table.read(tmp_path / "table.csv").rows] == ROWS
    (tmp_path / "other.csv").write_text("run,value\na,1\n")
    with pytest.raises(ValueError, match="Table: .* must have the columns run, family, .*. Got run, value."):
        Table.read(tmp_path / "other.csv")


def test_what_a_table_says_of_runs():
    table = Table(ROWS)
    hawk, mqa = table.trials()
    assert hawk == ("a", "Hawk", 0, 0.001, "4 in 32") and mqa == ("b", "MQA", 1, 0.002, "8 in 64")
    assert table.trials("MQA") == [mqa] and table.trials(setting="4 in 32") == [hawk] == table.trials("Hawk", "4 in 32")
    assert table.settings() == ["4 in 32", "8 in 64"]
    assert table.curve(hawk, "token_accuracy") == ([100, 200], [0.5, 0.96])
    assert table.value(hawk, "token_accuracy") == 0.96
    assert table.tests(hawk, "test_token_accuracy") == ["4 in 64"]
    assert table.value(hawk, "test_token_accuracy", "4 in 64") == 0.25
    assert table.text(mqa, "machine") == 'a "machine", of 2 cores'
    assert math.isnan(table.value(mqa, "token_accuracy")) and table.curve(mqa, "token_accuracy") == ([], [])


def test_the_first_step_at_a_level():
    table = Table(ROWS)
    hawk = table.trials()[0]
    found = [table.steps_to(hawk, "token_accuracy", level) for level in (0.5, 0.51, 0.96, 0.97)]
    assert found == [100, 200, 200, math.inf]


def test_the_part_of_a_setting_has_the_tests_of_its_runs():
    table = Table(ROWS)
    assert [tuple(row) for row in table.part("4 in 32").rows] == ROWS[:4]
    assert table.part("4 in 64").rows == [] and table.part("8 in 64").trials() == table.trials("MQA")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must have the columns run, family"),
        ("a,b\n", "Got a, b"),
        ("{head}\n{row}\n1,2\n", "Got another in line 3"),
    ],
)
def test_a_file_that_is_no_table_is_refused(text, words, tmp_path):
    file = tmp_path / "table.csv"
    file.write_text(text.format(head=",".join(Row._fields), row=",".join(ROWS[0])))
    with pytest.raises(ValueError, match=words):
        Table.read(file)
