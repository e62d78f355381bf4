"""Write the tables of docs/scaling.md and docs/guides/pod.md: predictions and measured costs.

    python benchmarks/scaling_tables.py

A table is between `<!-- name -->` and `<!-- end -->`, with a name from `TABLES`.
"""

import math
import re
from pathlib import Path

from experiments.models.families import training_flops
from keras_griffin.files import atomic_file
from keras_griffin.inspection import Device, decode_table
from keras_griffin.inspection.decode_table import cache_table
from keras_griffin.inspection.devices import DEVICES
from keras_griffin.models import presets

ROOT = Path(__file__).resolve().parent.parent
PAGES = (ROOT / "docs" / "scaling.md", ROOT / "docs" / "guides" / "pod.md")
RESULTS = ROOT / "benchmarks" / "results" / "scaling-cpu-1-core.md"
PROCESSES = ROOT / "benchmarks" / "results" / "processes-cpu-2-cores.md"
#: A step of the predictions: its tokens, the length of its rows, and the devices that share it.
STEP_TOKENS, STEP_LENGTH, STEP_DEVICES = 1 << 20, 2048, 64
#: Bytes of a parameter with its gradient and Adam's two slots, in float32.
TRAINING_BYTES = 16


def filled(page: str, results: str) -> str:
    """The page with every table filled in.

    Args:
        page: Markdown.
        results: the output of scaling.py; empty if it has not been run.
    """

    def table(match):
        return f"<!-- {match[1]} -->\n\n{TABLES[match[1]](results)}\n\n<!-- end -->"

    return re.sub(r"<!-- (\w+) -->\n.*?<!-- end -->", table, page, flags=re.DOTALL)


def measured_table(results: str, title: str) -> str:
    """The first table under a heading that begins with `title`."""
    found = re.search(rf"^### {title}.*\n\n((?:\|.*\n)+)", results, re.MULTILINE)
    return found[1].strip() if found else "Not measured yet."


def measured_device(results: str) -> Device:
    """The machine of the first run of scaling.py."""
    processor = re.search(r"^(.*?)\. Python", results, re.MULTILINE)[1]
    rows = ("memory, GB", "memory read, GB a second", "products of matrices in float32, GFLOP a second")
    numbers = [1e9 * float(re.search(rf"^\| {row} \| ([\d.]+) \|$", results, re.MULTILINE)[1]) for row in rows]
    return Device(processor, *numbers)


def machine_table(results: str) -> str:
    """Predictions for the machine on which scaling.py ran."""
    return decode_table(measured_device(results)) if results else "Not measured yet."


def training_table() -> str:
    """Predictions of a training step with every block made again, its inputs kept in bfloat16."""
    devices = [DEVICES["tpu_v5e"], DEVICES["h100_sxm"]]
    of_each = [f"{text}, {device.name}" for device in devices for text in ("devices at least", "seconds a step")]
    head = ["model", "parameters, billions", "weights, gradients and slots, GB", "kept for a row, GB", *of_each]
    lines = [head, ["---"] * len(head)]
    for name in (f"{family}_{size}" for size in ("1.3b", "3b", "7b") for family in ("griffin", "hawk", "mqa")):
        config = presets()[name]
        state, kept = TRAINING_BYTES * config.parameter_count(), 2 * config.num_layers * config.width * STEP_LENGTH
        # The forward pass twice, and the backward pass, which costs two.
        operations = training_flops(config, STEP_LENGTH) * STEP_TOKENS * 4 / 3
        cells = [name, f"{config.parameter_count() / 1e9:.2f}", f"{state / 1e9:.0f}", f"{kept / 1e9:.2f}"]
        for device in devices:
            seconds = operations / (STEP_DEVICES * device.operations_per_second)
            cells += [str(math.ceil(state / (device.memory_bytes - kept))), f"{seconds:.2f}"]
        lines.append(cells)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


#: The tables of processes.py by name: how their titles begin.
MEASURED = {
    "processes_jax": "A step of 8 rows on jax",
    "processes_torch": "A step of 8 rows on torch",
    "tokenizing": "Tokenizing",
    "reading": "Reading",
}


def processes_table(title: str) -> str:
    """A table of processes.py."""
    return measured_table(PROCESSES.read_text() if PROCESSES.exists() else "", title)


#: Each table of the pages by name, as a function of the output of scaling.py.
TABLES = {
    "training": lambda results: measured_table(results, "A training step"),
    "decoding": lambda results: measured_table(results, "A decoding step"),
    "caches": lambda _: cache_table(),
    "tpu_v5e": lambda _: decode_table("tpu_v5e"),
    "h100_sxm": lambda _: decode_table("h100_sxm"),
    "speed": lambda results: measured_table(results, "This machine"),
    "machine": machine_table,
    "training_presets": lambda _: training_table(),
    **{name: lambda _, title=title: processes_table(title) for name, title in MEASURED.items()},
}


def main():
    """Update the pages."""
    results = RESULTS.read_text() if RESULTS.exists() else ""
    for path in PAGES:
        page = filled(path.read_text(), results)
        with atomic_file(path) as aside:
            aside.write_text(page)


if __name__ == "__main__":
    main()
