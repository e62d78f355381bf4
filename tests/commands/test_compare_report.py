import csv

import pytest

from keras_griffin.commands.compare import LINES, PICTURE, TABLE, Line, note, table, write

pytestmark = pytest.mark.any_backend

GRIFFIN = Line("recurrent", 890112, 2.34567, 4.9, 12345.6, 1.234, 11520.0)
TWO = Line("rwkv4+rwkv4_channel", 91, float("nan"), 4.9, 9.0, 10.0, 7.0)


def test_the_table_is_markdown_in_straight_columns():
    rows = table([GRIFFIN, TWO]).splitlines()
    assert len(rows) == 4 and len({len(row) for row in rows}) == 1
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert cells[0][:3] == ["mixers", "parameters", "bits per byte"]
    assert cells[2] == ["recurrent", "890,112", "2.346", "12,346", "1.23", "11,520"]
    assert cells[3][0] == "rwkv4+rwkv4_channel" and cells[3][2] == "nan*"


def test_a_model_no_better_than_frequencies_is_marked_in_table_and_files(tmp_path):
    short = GRIFFIN._replace(bits_per_byte=4.9)
    assert table([short]).splitlines()[2].split("|")[3].strip() == "4.900*" and "*" not in table([GRIFFIN])
    assert not note([GRIFFIN]) and "too short to compare" in note([GRIFFIN, short]) and "4.900 bits" in note([short])
    write([short], "4 layers", tmp_path)
    assert (tmp_path / TABLE).read_text().endswith(f"{note([short])}\n")
    with (tmp_path / LINES).open(newline="") as file:
        assert next(csv.DictReader(file))["frequency_bits_per_byte"] == "4.9"


def test_the_files(tmp_path):
    pytest.importorskip("matplotlib")
    assert write([GRIFFIN], "4 layers", tmp_path) == [LINES, TABLE, PICTURE]
    # A later one replaces them.
    assert write([GRIFFIN, TWO], "4 layers", tmp_path) == [LINES, TABLE, PICTURE]
    assert {path.name for path in tmp_path.iterdir()} == {LINES, TABLE, PICTURE}
    with (tmp_path / LINES).open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["mixers"] for line in lines] == ["recurrent", "rwkv4+rwkv4_channel"]
    assert float(lines[0]["bits_per_byte"]) == 2.34567 and set(lines[0]) == set(Line._fields)
    assert (tmp_path / TABLE).read_text() == f"# 4 layers\n\n{table([GRIFFIN, TWO])}{note([TWO])}\n"
    assert (tmp_path / PICTURE).read_bytes().startswith(b"\x89PNG")
