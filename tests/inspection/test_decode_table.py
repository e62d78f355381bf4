"""Tables of what decoding costs, and those in the documentation; devices, and what their numbers say."""

import importlib.util
from pathlib import Path

import pytest

from keras_griffin.inspection import Device, decode_cost, decode_table
from keras_griffin.inspection.decode_table import cache_table
from keras_griffin.inspection.devices import DEVICES, find_device
from keras_griffin.models import presets

pytestmark = pytest.mark.any_backend

ROOT = Path(__file__).resolve().parent.parent.parent
TWO = {name: presets()[name] for name in ("mqa_1.3b", "griffin_14b")}
RESULTS = """# scaling, cpu-2-cores

A Processor, 2 cores. Python 3.11.7, keras 3.15.1.

### This machine on jax

| this machine | |
|---|---|
| memory, GB | 25.3 |
| memory read, GB a second | 20.0 |
| products of matrices in float32, GFLOP a second | 100 |

### A training step over 16,384 tokens on jax

| model | seconds |
|---|---|
| MQA | 1.0 |
"""


@pytest.fixture(scope="module")
def scaling_tables():
    specification = importlib.util.spec_from_file_location("scaling_tables", ROOT / "benchmarks/scaling_tables.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def cells(table):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_the_cells_are_what_decode_cost_says():
    head, _, row, does_not_fit = cells(decode_table("tpu_v5e", TWO, (2048, 32768)))
    assert head[1:3] == ["ms a token at 2,048", "ms a token at 32,768"]
    one, long = (decode_cost(TWO["mqa_1.3b"], 1, length) for length in (2048, 32768))
    assert [float(cell) for cell in row[1:3]] == [
        pytest.approx(1e3 * c.seconds_per_step, rel=5e-3) for c in (one, long)
    ]
    assert row[3:5] == [f"{cost.largest_batch:,}" for cost in (one, long)] == ["505", "31"]
    # 505 rows are more than memory bounds: 240, as products take over from there. Three digits are printed.
    speeds = [decode_cost(TWO["mqa_1.3b"], *at).tokens_per_second for at in ((240, 2048), (31, 32768))]
    assert [float(cell.replace(",", "")) for cell in row[5:]] == pytest.approx(speeds, rel=5e-3)
    assert does_not_fit == ["griffin_14b", *["-"] * 6]


def test_every_preset_has_its_row():
    for table in (cache_table(), decode_table("h100_sxm")):
        assert [row[0] for row in cells(table)[2:]] == list(presets())


def test_the_tables_of_the_documentation_are_those_of_the_code(scaling_tables):
    page = "".join(path.read_text() for path in scaling_tables.PAGES)
    results = scaling_tables.RESULTS.read_text() if scaling_tables.RESULTS.exists() else ""
    assert all(f"<!-- {name} -->" in page for name in scaling_tables.TABLES)
    assert scaling_tables.filled(page, results) == page, "run python benchmarks/scaling_tables.py"


def test_measurements_are_read_from_the_results(scaling_tables):
    assert scaling_tables.measured_device(RESULTS) == Device("A Processor, 2 cores", 25.3e9, 20e9, 100e9)
    page = "<!-- training -->\n<!-- end -->"
    assert "| MQA | 1.0 |\n\n<!-- end -->" in scaling_tables.filled(page, RESULTS)
    assert "Not measured yet." in scaling_tables.filled(page, "")
    expected = decode_table(Device("A Processor, 2 cores", 25.3e9, 20e9, 100e9))
    assert expected in scaling_tables.filled("<!-- machine -->\n<!-- end -->", RESULTS)


def test_the_batch_at_which_arithmetic_takes_as_long_as_memory():
    # 3 bytes a second and 12 operations: a parameter of 2 bytes takes 2 / 3 s to read and 2 / 12 s for each row.
    assert Device("a", 1, 3, 12).memory_bound_batch(2) == 4
    assert Device("a", 1, 3, 11.9).memory_bound_batch(2) == 3
    assert Device("a", 1, 3, 12).memory_bound_batch(4) == 8
    assert Device("a", 1, 3).memory_bound_batch(2) == 128


@pytest.mark.parametrize("field", ["memory_bytes", "bytes_per_second", "operations_per_second"])
def test_numbers_are_positive(field):
    numbers = {"memory_bytes": 1, "bytes_per_second": 1, "operations_per_second": 1, field: 0}
    with pytest.raises(ValueError, match=rf"^Device: {field} must be positive\. Got 0 for 'a'\.$"):
        Device("a", **numbers)


def test_an_unknown_device_is_refused():
    assert find_device("decode_table", "tpu_v3") is DEVICES["tpu_v3"]
    with pytest.raises(ValueError, match=r"^decode_table: device must be .* Got None\.$"):
        decode_table(None)
