"""The comparison of mixers in benchmarks/lineage.py: its models, its file and its table."""

import importlib
from pathlib import Path

import pytest

pytestmark = pytest.mark.any_backend

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def lineage(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("lineage")


def test_every_row_has_the_parameters_of_griffin(lineage):
    settings = lineage.Settings()
    count = settings.griffin.parameter_count()
    for name in lineage.row_names():
        config = lineage.config_of(name, settings)
        assert abs(config.parameter_count() - count) <= 0.01 * count, name
        assert config.width == 128 and config.num_layers == 4


def test_a_finished_part_is_not_repeated_and_stands_in_the_table(lineage, monkeypatch, tmp_path, capsys):
    calls, file = [], tmp_path / "parts.csv"

    def part(name, settings, seed):
        calls.append((name, settings.tokens, seed))
        return {"bits": 2.0 + seed / 10}

    monkeypatch.setitem(lineage.PARTS, "text", (part, True))
    few, many = lineage.Settings(tokens=1), lineage.Settings(tokens=2)
    for settings in (few, few, many):
        for seed in (0, 1):
            lineage.finish(file, settings, "griffin", "text", seed)
    assert calls == [("griffin", 1, 0), ("griffin", 1, 1), ("griffin", 2, 0), ("griffin", 2, 1)]
    values = lineage.values_by_row(lineage.lines_in(file, few), ["gilr", "griffin"])
    head, _, row = lineage.table(values, few).splitlines()
    assert [cell.strip() for cell in row.split("|")][2:5] == ["", "2.050 (2.000 to 2.100)", ""]
    assert row.startswith("| griffin |") and head.split("|")[3].strip() == "bits per byte"
