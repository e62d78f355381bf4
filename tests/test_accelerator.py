"""`python -m benchmarks.accelerator`: its parts, its file of results, its page; and the cheap parts themselves."""

import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest

from benchmarks.accelerator import journal
from benchmarks.accelerator.__main__ import main, status
from benchmarks.accelerator.part import Record
from benchmarks.accelerator.plan import PARTS, Part
from benchmarks.accelerator.report import report

pytestmark = pytest.mark.any_backend

ROOT = Path(__file__).resolve().parent.parent
#: Parts that need no backend, in a folder that the tests put on the path.
MADE_UP = {
    "good": "def run(record):\n    record.row('Speed', rate=2.5)\n",
    "raises": "def run(record):\n    record.row('Speed', rate=1)\n    raise ValueError('no such card')\n",
    "dies": "import os\ndef run(record):\n    os._exit(7)\n",
    "hangs": "import time\ndef run(record):\n    record.row('Speed', rate=3)\n    time.sleep(60)\n",
    "wrong": "def run(record):\n    record.check('scan', 'values', wrong)\ndef wrong():\n    raise AssertionError\n",
    "endless": "import time\ndef run(record):\n    while True:\n        record.note('on')\n        time.sleep(0.02)\n",
}


def plan_of(*names, limit=30.0, judges=False):
    return tuple(Part(name, limit, f"what {name} does", judges, package="made_up") for name in names)


@pytest.fixture
def made_up(tmp_path, monkeypatch):
    """A folder with the parts; returns a function that runs a plan there."""
    folder = tmp_path / "made_up"
    folder.mkdir()
    for name, source in MADE_UP.items():
        (folder / f"{name}.py").write_text(source)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    file = tmp_path / "results.jsonl"
    return lambda plan, *options: (main(["--file", str(file), *options], plan), journal.read(file))


@pytest.fixture
def parts(monkeypatch):
    """Import a module as a part's process does."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module


def begun(part, path):
    journal.append(path, part, "begin", time="2026-01-02 03:04", quick=False, commit="abc")


def test_the_plan_takes_less_than_eight_minutes_and_has_a_module_for_each_part():
    assert sum(part.limit for part in PARTS) < 8 * 60
    assert all((ROOT / f"{part.module.replace('.', '/')}.py").is_file() for part in PARTS)
    assert [part.name for part in PARTS if part.judges] == ["streams", "correctness", "parity"]


def test_an_unknown_part_is_refused_on_the_command_line(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["--part", "speed"])
    assert "Got speed." in capsys.readouterr().err


def test_a_line_that_a_kill_broke_is_skipped_and_the_next_one_is_whole(tmp_path):
    path = tmp_path / "results.jsonl"
    begun("facts", path)
    with path.open("a") as file:
        file.write('{"part": "facts", "event": "ro')
    journal.append(path, "facts", "note", text="whole")
    assert journal.read(path)["facts"].results == [{"event": "note", "text": "whole"}]
    assert journal.read(tmp_path / "nothing.jsonl") == {}


def test_a_part_that_raises_or_dies_or_hangs_says_so_and_the_others_go_on(made_up):
    plan = (*plan_of("raises", "dies"), *plan_of("hangs", limit=2.0), *plan_of("good"))
    code, attempts = made_up(plan)
    ends = {name: (attempt.end["outcome"], attempt.end["reason"]) for name, attempt in attempts.items()}
    assert ends == {
        "raises": ("failed", "ValueError: no such card"),
        "dies": ("failed", "its process ended with status 7"),
        "hangs": ("out of time", "it had not ended after 2 s"),
        "good": ("done", ""),
    }
    rates = {name: [row["cells"]["rate"] for row in a.results if row["event"] == "row"] for name, a in attempts.items()}
    assert rates == {"raises": [1], "dies": [], "hangs": [3], "good": [2.5]}
    # None of them makes checks.
    assert code == 0


@pytest.mark.parametrize(("name", "judges", "code"), [("wrong", True, 1), ("dies", True, 1), ("good", True, 0)])
def test_the_status_tells_a_check_that_failed_or_was_never_made(made_up, name, judges, code):
    assert made_up(plan_of(name, judges=judges))[0] == code


def test_a_failed_check_counts_although_its_part_is_done(tmp_path):
    path, plan = tmp_path / "results.jsonl", plan_of("parity", judges=True)
    begun("parity", path)
    journal.append(path, "parity", "check", subject="float32", name="loss", ok=False, detail="off")
    journal.append(path, "parity", "end", outcome="done", reason="", seconds=1.0)
    assert status(plan, journal.read(path)) == 1


def test_a_killed_run_keeps_its_results_and_goes_on(made_up, tmp_path):
    """And the part that it was in, a process of its own, ends as well."""
    file = tmp_path / "results.jsonl"
    made_up(plan_of("good"))
    parts = ", ".join(f"Part({name!r}, 30.0, '', package='made_up')" for name in ("good", "endless"))
    source = "from benchmarks.accelerator.__main__ import main\nfrom benchmarks.accelerator.plan import Part\n"
    source += f"main(['--file', {str(file)!r}], ({parts}))"
    settings = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])}
    run = subprocess.Popen([sys.executable, "-c", source], env=settings, stdout=subprocess.DEVNULL)
    until(lambda: '"on"' in file.read_text())
    run.send_signal(signal.SIGKILL)
    run.wait()
    until(lambda: is_still(file))
    attempts = journal.read(file)
    assert attempts["good"].is_done
    assert attempts["endless"].end is None and attempts["endless"].results[0] == {"event": "note", "text": "on"}
    _, attempts = made_up((*plan_of("good"), *plan_of("endless", limit=1.0)))
    assert file.read_text().count('"part": "good", "event": "begin"') == 1
    assert attempts["endless"].end["outcome"] == "out of time"


def test_a_run_that_is_terminated_ends_its_part(tmp_path):
    file, folder = tmp_path / "results.jsonl", tmp_path / "made_up"
    folder.mkdir()
    (folder / "sleeps.py").write_text(
        "import os, time\ndef run(record):\n    record.note(str(os.getpid()))\n    time.sleep(60)\n"
    )
    source = "import runpy, benchmarks.accelerator.plan as plan\n"
    source += "plan.PARTS = (plan.Part('sleeps', 60.0, '', package='made_up'),)\n"
    source += "runpy.run_module('benchmarks.accelerator', run_name='__main__', alter_sys=True)"
    settings = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])}
    command = [sys.executable, "-c", source, "--file", str(file)]
    run = subprocess.Popen(command, env=settings, stdout=subprocess.DEVNULL)
    until(lambda: file.exists() and '"note"' in file.read_text())
    run.send_signal(signal.SIGTERM)
    assert run.wait(timeout=30) == 128 + signal.SIGTERM
    part = int(journal.read(file)["sleeps"].results[0]["text"])
    with pytest.raises(ProcessLookupError):
        os.kill(part, 0)


def until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def is_still(file, seconds=0.5):
    before = file.stat().st_size
    time.sleep(seconds)
    return file.stat().st_size == before


LINES = [
    {"part": "facts", "event": "begin", "time": "2026-01-02 03:04", "quick": True, "commit": "abc"},
    {"part": "facts", "event": "note", "text": "No card."},
    {"part": "facts", "event": "row", "table": "Reached", "cells": {"what": "copy", "GB/s": 2987.4, "n": 1073741824}},
    {"part": "facts", "event": "row", "table": "Reached", "cells": {"what": "a|b", "GB/s": None, "remark": "slow"}},
    {"part": "facts", "event": "text", "title": "explain", "text": "* one\n  two"},
    {"part": "facts", "event": "end", "outcome": "done", "reason": "", "seconds": 4.6},
    {"part": "checks", "event": "begin", "time": "2026-01-02 03:05", "quick": False, "commit": ""},
    {"part": "checks", "event": "check", "subject": "scan: loop", "name": "T5", "ok": True, "detail": None},
    {"part": "checks", "event": "check", "subject": "scan: loop", "name": "T6", "ok": False, "detail": "off"},
    {"part": "checks", "event": "end", "outcome": "failed", "reason": "ValueError: no.", "seconds": 1.0},
    {"part": "cut", "event": "begin", "time": "2026-01-02 03:06", "quick": False, "commit": "abc"},
]
PAGE = """# Accelerator, torch

## facts: what facts does

Done in 5 s (2026-01-02 03:04, abc, quick).

No card.

### Reached

| what | GB/s | n | remark |
|---|---|---|---|
| copy | 2,987 | 1,073,741,824 |  |
| a\\|b | not measured |  | slow |

### explain

```text
* one
  two
```

## checks: what checks does

Failed: ValueError: no. What it had measured follows (1 s, 2026-01-02 03:05).

| subject | checks | failed |
|---|---|---|
| scan: loop | 2 | 1 |

- FAILED: scan: loop, T6: off

## cut: what cut does

Interrupted; what it had measured follows (2026-01-02 03:06, abc).

## never: what never does

Not measured.
"""


def test_the_page_is_made_from_the_file(tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in LINES))
    assert report("Accelerator, torch", journal.read(path), plan_of("facts", "checks", "cut", "never")) == PAGE


@pytest.fixture
def record(tmp_path):
    record = Record(tmp_path / "results.jsonl", "part", quick=True)
    begun("part", record.path)
    return record


@pytest.mark.trainable
def test_the_facts_name_the_kernel_of_every_op(parts, record, monkeypatch):
    from keras_griffin.ops.implementation import Op

    facts = parts("benchmarks.accelerator.facts")
    monkeypatch.setattr(facts, "device_bandwidth", lambda num_bytes: 1e9)
    monkeypatch.setattr(facts, "matrix_product_peak", lambda: 1e12)
    facts.run(record)
    results = journal.read(record.path)["part"].results
    (text,) = (result["text"] for result in results if result["event"] == "text")
    assert set(re.findall(r"^(\w+) on ", text, re.MULTILINE)) == set(Op.registry)


@pytest.mark.trainable
def test_a_backend_that_does_not_see_the_gpu_is_told_so(parts):
    facts = parts("benchmarks.accelerator.facts")
    assert facts.of_no_accelerator(None).endswith("nothing on this page is of an accelerator.")
    assert "NVIDIA's driver 580.1, so " in facts.of_no_accelerator("580.1")


@pytest.mark.trainable
def test_every_row_that_serves_is_judged(parts, record, monkeypatch):
    from keras_griffin.ops.implementation import Op, current_facts

    correctness = parts("benchmarks.accelerator.correctness")
    monkeypatch.setattr(correctness, "FEW", 1)
    correctness.run(record)
    parts("benchmarks.accelerator.streams").run(record)
    attempt = journal.read(record.path)["part"]
    subjects = {result["subject"] for result in attempt.results if result["event"] == "check"}
    assert not attempt.failed_checks
    for op in Op.registry.values():
        facts = current_facts(op.cases.CASES[-1].shape, op.cases.CASES[-1].dtype)
        serving = {f"{op.name}: {row.name}" for row in op.serving(facts)}
        assert serving and serving <= subjects


@pytest.mark.trainable
def test_a_scan_that_is_wrong_in_its_second_block_is_found(parts, monkeypatch):
    streams = parts("benchmarks.accelerator.streams")
    scan, shape = streams.SCANS[0], (1, 3, 40)
    other = streams.other_implementations(scan.name, shape)[0]
    assert streams.agrees(scan, shape, other) != other

    right = streams.Scan.states

    def wrong(self, *tensors):
        is_ours = streams.explain(self.name, shape).chosen != other
        factors = 1.0 + 0.001 * is_ours * (np.arange(shape[2]) >= 32)
        return right(self, *tensors) * keras.ops.convert_to_tensor(factors, "float32")

    monkeypatch.setattr(streams.Scan, "states", wrong)
    with pytest.raises(AssertionError, match="agrees: the relative error must be below 1e-04. Got "):
        streams.agrees(scan, shape, other)


def test_an_error_of_the_device_ends_the_part(record):
    def fault():
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    def full():
        raise RuntimeError("CUDA error: out of memory")

    for use in (lambda: record.check("scan", "values", fault), lambda: record.tried("Speed", fault)):
        with pytest.raises(RuntimeError, match="illegal memory access"):
            use()
    record.tried("Speed", lambda: 1 / 0)
    record.tried("Speed", full)
    kinds = [result["event"] for result in journal.read(record.path)["part"].results]
    assert kinds == ["check", "row", "row", "row"]


@pytest.mark.trainable
def test_a_wrong_row_fails_its_checks(parts, record, monkeypatch):
    from keras_griffin.ops.linear_scan import portable

    correctness = parts("benchmarks.accelerator.correctness")
    right = portable.linear_scan
    monkeypatch.setattr(portable, "linear_scan", lambda *a: [tuple(1.01 * x for x in part) for part in right(*a)])
    monkeypatch.setattr(correctness, "FEW", 1)
    monkeypatch.setattr(correctness.Op, "registry", {"linear_scan": correctness.Op.registry["linear_scan"]})
    correctness.run(record)
    failed = journal.read(record.path)["part"].failed_checks
    assert {check["subject"] for check in failed} == {"linear_scan: portable"}


def test_answers_that_differ_fail(parts):
    parity = parts("benchmarks.accelerator.parity")
    one = np.ones(3, "float32")
    assert "relative error 0.0e+00" in parity.close(one, one, 1e-4)
    for wrong in (one + 1e-3, one * np.nan):
        with pytest.raises(AssertionError, match="relative error"):
            parity.close(wrong, one, 1e-4)
    gradients = {"gradient 0": one, "gradient 1": 2 * one, "loss": one}
    assert parity.close_gradients(gradients, gradients, 1e-4)
    with pytest.raises(AssertionError, match="relative error 4.5e-01"):
        parity.close_gradients({**gradients, "gradient 1": one}, gradients, 1e-4)


@pytest.mark.trainable
def test_results_that_differ_in_a_bit_are_found(parts):
    streams = parts("benchmarks.accelerator.streams")
    one = np.ones(3, "float32")
    streams.same_bits((one, [one]), (one, [one]))
    with pytest.raises(AssertionError, match="result 1 must be equal. Got 1 that differ."):
        streams.same_bits((one, [one]), (one, [one + np.array([0, 0, 1e-7], "float32")]))


@pytest.mark.slow
@pytest.mark.trainable
def test_the_command_runs(tmp_path):
    file = tmp_path / "results.jsonl"
    command = [sys.executable, "-m", "benchmarks.accelerator", "--quick", "--part", "facts", "--file", str(file)]
    run = subprocess.run([*command, "--patience", "10"], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    page = file.with_suffix(".md").read_text()
    assert "Done in" in page and "| memory, GB/s, 64 MiB arrays |" in page and "Not measured." in page
