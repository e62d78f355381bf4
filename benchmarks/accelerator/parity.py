"""A model of three layers with the same weights, on the CPU in float32 and on the device in float32 and bfloat16."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from timing import device

from benchmarks.accelerator.answers import answers, make
from benchmarks.accelerator.hardware import full_precision, is_small
from benchmarks.accelerator.processes import ROOT

#: Where a backend finds no accelerator.
ON_CPU = {"CUDA_VISIBLE_DEVICES": "-1", "HIP_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
#: With these XLA compiles for the CPU quickly, and not to quick programs.
QUICKLY = " --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
#: How far an answer may be from that of the CPU, as a share of the largest value. On a CPU, bfloat16 is 2.7e-2 away.
LIMITS = {"float32": 1e-4, "mixed_bfloat16": 8e-2}


def run(record):
    """Compare them."""
    if device() == "cpu":
        record.note("The device is the CPU itself: float32 is compared with another process, bfloat16 with float32.")
    small = is_small(record)
    expected = answers_of_the_cpu(small)
    for dtype, limit in LIMITS.items():
        model, texts = make(small, dtype)
        for i, weight in enumerate(model.weights):
            weight.assign(expected[f"weight {i}"])
        with full_precision():
            found = answers(model, texts)
        record.check(dtype, "logits", close, found["logits"], expected["logits"], limit)
        record.check(dtype, "logits of chunks", close, found["chunks"], expected["logits"], limit)
        # A mean over all tokens, in which roundings cancel.
        record.check(dtype, "loss", close, found["loss"], expected["loss"], limit / 10)
        record.check(dtype, "gradients", close_gradients, found, expected, limit)
        record.check(dtype, "greedy tokens", same_tokens, found["tokens"], expected, limit)


def answers_of_the_cpu(small):
    """The answers of a process that sees only the CPU, and its weights."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "answers.npz"
        command = [sys.executable, "-m", "benchmarks.accelerator.answers", str(path), *["--small"] * small]
        settings = {**os.environ, **ON_CPU, "XLA_FLAGS": os.environ.get("XLA_FLAGS", "") + QUICKLY}
        subprocess.run(command, check=True, cwd=ROOT, env=settings, stdout=subprocess.DEVNULL)
        with np.load(path) as file:
            return dict(file)


def close(found, expected, limit):
    """Fail if the largest difference, as a share of the largest expected value, exceeds the limit."""
    return within(np.max(np.abs(found.astype("float64") - expected)) / np.max(np.abs(expected)), limit)


def close_gradients(found, expected, limit):
    """The same for all gradients as one vector, by its norm."""
    pairs = [(found[name].astype("float64"), array) for name, array in expected.items() if name.startswith("gradient")]
    difference = np.linalg.norm([np.linalg.norm(ours - theirs) for ours, theirs in pairs])
    return within(difference / np.linalg.norm([np.linalg.norm(theirs) for _, theirs in pairs]), limit)


def within(error, limit):
    """The error and its limit as text; NaN exceeds every limit."""
    text = f"relative error {error:.1e}, at most {limit:.0e}"
    if not error <= limit:
        raise AssertionError(text)
    return text


def same_tokens(found, expected, limit):
    """Fail where a token differs although the CPU's logits for both differ by more than rounding."""
    alike = len(expected["tokens"][0])
    for row, (ours, theirs) in enumerate(zip(found, expected["tokens"], strict=True)):
        differ = np.flatnonzero(ours != theirs)
        if differ.size == 0:
            continue
        place = int(differ[0])
        logits = expected["logits of tokens"][row, place - 1]
        gap, size = logits[theirs[place]] - logits[ours[place]], np.max(np.abs(logits))
        if gap > limit * size:
            raise AssertionError(f"row {row} differs at place {place}, where the logits are {gap / size:.1e} apart")
        alike = min(alike, place)
    count = len(expected["tokens"][0])
    return f"all {count} are equal" if alike == count else f"equal up to place {alike}, where rounding decides"
