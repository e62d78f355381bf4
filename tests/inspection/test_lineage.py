"""The comparison of mixers in benchmarks/lineage.py: its models, its file and its table."""

import importlib
from pathlib import Path

import pytest

from keras_griffin.models import Griffin

pytestmark = pytest.mark.any_backend

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def lineage(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("lineage")


@pytest.mark.parametrize("scale", ["full", "small"])
def test_every_row_has_the_parameters_of_griffin(lineage, scale):
    settings = lineage.Settings() if scale == "full" else lineage.SMALL
    count = settings.griffin.parameter_count()
    for name in lineage.row_names():
        config = lineage.config_of(name, settings)
        assert abs(config.parameter_count() - count) <= 0.01 * count, name
        assert (config.width, config.num_layers) == (settings.width, settings.num_layers)
        if ":" in name and scale == "full":
            # Where widths change, so that they might not fit together.
            assert Griffin(config).count_params() == config.parameter_count(), name


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
    # What no row has measured has no column.
    assert (head, row) == ("|  | bits per byte |", "| griffin | 2.050 (2.000 to 2.100) |")
    file.write_text("row,bits\n")
    with pytest.raises(SystemExit, match=r"^lineage: .*parts\.csv must have the columns .* Got \['row', 'bits'\]\.$"):
        lineage.finish(file, few, "griffin", "text", 0)
    assert file.read_text() == "row,bits\n"
