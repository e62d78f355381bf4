"""Mutation testing: put twenty faults into copies of the package, one at a time, and record which test catches each.

    python benchmarks/deliberate_faults.py [--commit COMMIT] [--before COMMIT]

Each fault is tested in two versions, with that version's package and tests: an earlier commit, and the working tree or
the commit of --commit. The table is written to benchmarks/results/deliberate_faults.md. The exit status is 1 if the
later version's tests miss a fault.
"""

import argparse
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
MISSED = "NOT CAUGHT"
#: Names of files in earlier versions of the package.
EARLIER_NAMES = {"files/atomic.py": "files/whole.py"}


class Fault(NamedTuple):
    """A change that makes the package wrong."""

    name: str
    #: The path within keras_griffin.
    file: str
    #: Text that occurs exactly once in the file.
    old: str
    #: Its replacement.
    new: str
    #: The backend of the tests.
    backend: str
    #: The files and folders of tests that should catch it.
    tests: tuple[str, ...]


FAULTS = [
    Fault(
        "a scan's gradient for its initial state has the wrong sign",
        "ops/linear_scan/torch_loop.py",
        "into_start = decay[:, first] * inputs_gradient[:, first]",
        "into_start = -decay[:, first] * inputs_gradient[:, first]",
        "torch",
        ("tests/ops/linear_scan/test_torch_loop.py", "tests/ops/test_rows.py"),
    ),
    Fault(
        "a convolution's reset ignores the mask",
        "ops/causal_conv.py",
        "take_steps(ops.logical_and(reset, mask), sources)",
        "take_steps(reset, sources)",
        "numpy",
        ("tests/ops/test_causal_conv.py",),
    ),
    Fault(
        "a scan's reset acts one step late",
        "ops/linear_scan/marks.py",
        "for mark in (reset, mask)))",
        "for mark in (reset if reset is None else ops.roll(reset, 1, axis=1), mask)))",
        "numpy",
        ("tests/ops/linear_scan/test_linear_scan.py", "tests/ops/test_rows.py"),
    ),
    Fault(
        "a recurrent state is rounded to the compute dtype",
        "layers/units/rg_lru.py",
        "return outputs, RecurrentUnitState(hidden)",
        'return outputs, RecurrentUnitState(ops.cast(ops.cast(hidden, self.compute_dtype), "float32"))',
        "numpy",
        (
            "tests/layers/units/test_recurrent_unit.py",
            "tests/mixers/test_declarations.py",
            "tests/testing/test_contracts.py",
        ),
    ),
    Fault(
        "a mesh splits the output projection along the wrong axis",
        "mixers/recurrent_block.py",
        'dense_weights("output_projection", inner, width, 0, groups)',
        'dense_weights("output_projection", inner, width, 1, groups)',
        "jax",
        ("tests/distribution/test_layout_map.py",),
    ),
    Fault(
        "the slope of the bounded square root has no bound",
        "ops/bounded_sqrt.py",
        "ops.divide(0.5, ops.where(root > smallest, root, smallest))",
        "ops.divide(0.5, root)",
        "torch",
        ("tests/ops/test_bounded_sqrt.py",),
    ),
    Fault(
        "the rotary embedding turns the other way",
        "ops/rotary_embedding.py",
        "[first * cosine - second * sine, second * cosine + first * sine]",
        "[first * cosine + second * sine, second * cosine - first * sine]",
        "numpy",
        ("tests/ops/test_rotary_embedding.py",),
    ),
    Fault(
        "the window of local attention is one key too long, by blocks",
        "ops/local_attention/portable.py",
        "ops.arange(reach + block)\n    visible = ops.logical_and(distance >= 0, distance < window)",
        "ops.arange(reach + block)\n    visible = ops.logical_and(distance >= 0, distance <= window)",
        "numpy",
        ("tests/ops/local_attention/test_local_attention.py", "tests/ops/test_rows.py"),
    ),
    Fault(
        "RMSNorm has Keras's epsilon, not its own",
        "layers/rms_norm.py",
        "epsilon=self.epsilon)",
        "epsilon=keras.config.epsilon())",
        "numpy",
        ("tests/layers/test_layers.py",),
    ),
    Fault(
        "the gradient of the cross-entropy leaves out the soft cap",
        "ops/linear_cross_entropy/torch_pieces.py",
        "slope = None if ctx.soft_cap is None else 1.0 - (logits / ctx.soft_cap) ** 2",
        "slope = None",
        "torch",
        ("tests/ops/test_rows.py",),
    ),
    Fault(
        "weight decay acts on biases that are matrices",
        "models/optimizer.py",
        '_SPARED_NAMES = {"bias", "scale"}',
        '_SPARED_NAMES = {"scale"}',
        "torch",
        ("tests/models/test_optimizer.py",),
    ),
    Fault(
        "top-k keeps k + 1 tokens",
        "generation/samplers.py",
        "min(int(self.k), logits.shape[-1])",
        "min(int(self.k) + 1, logits.shape[-1])",
        "numpy",
        ("tests/generation/test_samplers.py",),
    ),
    Fault(
        "generation ignores all stop ids but the first",
        "generation/loop.py",
        "ops.any(ids[:, None] == stop_ids, axis=1)",
        "ops.any(ids[:, None] == stop_ids[:1], axis=1)",
        "numpy",
        ("tests/generation/test_generate.py",),
    ),
    Fault(
        "the packed loss counts what has no weight",
        "models/loss_in_pieces.py",
        "return weighted_mean(nats, weights)",
        "return weighted_mean(nats, None)",
        "torch",
        ("tests/models/test_packed_model.py",),
    ),
    Fault(
        "a carried state goes on in a document that begins with a chunk",
        "models/documents.py",
        "ops.concatenate([ops.expand_dims(segment, 1), take_steps(",
        "ops.concatenate([ops.zeros_like(ops.expand_dims(segment, 1)), take_steps(",
        "numpy",
        ("tests/models/test_documents.py", "tests/models/test_carried_model.py"),
    ),
    Fault(
        "a preset's tensors are not compared with their checksums",
        "models/checksums.py",
        'if _sum(array) != sums["tensors"].get(name):',
        'if name not in sums["tensors"]:',
        "numpy",
        ("tests/models/test_checksums.py",),
    ),
    Fault(
        "a resumed run begins its epoch again",
        "training/resuming/run_course.py",
        "rest.start = course.start if epoch == course.epoch else 0",
        "rest.start = 0",
        "torch",
        ("tests/training/resuming/test_run_course.py", "tests/training/resuming/test_resume.py"),
    ),
    Fault(
        "a converted kernel is reshaped, not transposed",
        "conversion/layouts.py",
        "lambda theirs: (theirs.T,), lambda ours: ours.T)",
        "lambda theirs: (theirs.reshape(theirs.shape[::-1]),), lambda ours: ours.T)",
        "numpy",
        ("tests/conversion/test_huggingface.py", "tests/conversion/test_recurrentgemma.py"),
    ),
    Fault(
        "the product of a device's decays leaves out the first",
        "distribution/jax_divided_time.py",
        "jnp.prod(decay[0], axis=1)",
        "jnp.prod(decay[0][:, 1:], axis=1)",
        "jax",
        ("tests/distribution/test_divided_time.py",),
    ),
    Fault(
        "a file is written in its place, not aside",
        "files/atomic.py",
        "yield aside / path.name\n        os.replace(aside / path.name, path)",
        "yield path",
        "numpy",
        ("tests/files",),
    ),
]


def main():
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commit", help="whose tests must catch every fault (default: the working tree)")
    parser.add_argument("--before", default="217648e", help="the earlier commit (default: %(default)s)")
    options = parser.parse_args()
    now = options.commit or git("describe", "--always", "--exclude=*", "--dirty").decode().strip()
    report = [
        f"`python benchmarks/deliberate_faults.py --before {options.before}`: {len(FAULTS)} faults, the tests of "
        f"{options.before} and of {now}.\n",
        f"| fault | backend | file | caught by, in {options.before} | seconds | caught by, in {now} | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    print("\n".join(report), flush=True)
    missed = 0
    for fault in FAULTS:
        before, seconds_before = caught_by(fault, options.before)
        after, seconds = caught_by(fault, options.commit)
        missed += after == MISSED
        cells = (fault.name, fault.backend, f"`{fault.file}`", before, f"{seconds_before:.0f}", after, f"{seconds:.0f}")
        report.append(f"| {' | '.join(cells)} |")
        print(report[-1], flush=True)
    (ROOT / "benchmarks" / "results" / "deliberate_faults.md").write_text("\n".join(report) + "\n", "utf-8")
    sys.exit(missed > 0)


def caught_by(fault: Fault, commit: str | None) -> tuple[str, float]:
    """The first test that fails with a fault in the files of a commit, or `MISSED`; and the seconds that pytest took.

    Args:
        fault: the fault to insert.
        commit: None for the working tree.

    Raises:
        ValueError: the old text does not occur exactly once in the file.
        RuntimeError: pytest did not run a test.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_files(commit, folder)
        put_in(fault, folder)
        settings = {
            "KERAS_BACKEND": fault.backend,
            "KERAS_HOME": str(folder),
            "MPLBACKEND": "Agg",
            "PYTHONPATH": str(folder),
            "TF_CPP_MIN_LOG_LEVEL": "2",
        }
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests_of(fault, folder)]
        start = time.perf_counter()
        run = subprocess.run(command, cwd=folder, env={**os.environ, **settings}, capture_output=True, text=True)
        seconds = time.perf_counter() - start
    failed = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", run.stdout, re.MULTILINE)
    if run.returncode == 0:
        return MISSED, seconds
    if run.returncode != 1 or failed is None:
        raise RuntimeError(f"caught_by: pytest must run a test of {fault.name!r}. Got {run.stdout}{run.stderr}")
    return f"`{failed[1]}`", seconds


def copy_files(commit: str | None, folder: Path) -> None:
    """Copy the tracked files of a commit, or for None of the working tree, into a folder."""
    if commit is not None:
        with tarfile.open(fileobj=io.BytesIO(git("archive", commit))) as archive:
            archive.extractall(folder, filter="data")
        return
    for name in git("ls-files", "-z").decode().split("\0"):
        # A tracked file may be missing.
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)


def tests_of(fault: Fault, folder: Path) -> list[str]:
    """The fault's tests; in earlier versions each op had its own file of row tests."""
    of_the_op = f"tests/ops/{Path(fault.file).parts[1]}/test_implementations.py"
    return [path if (folder / path).exists() else of_the_op for path in fault.tests]


def put_in(fault: Fault, folder: Path) -> None:
    """Replace the old text by the new one.

    Raises:
        ValueError: the old text does not occur exactly once in the file.
    """
    path = folder / "keras_griffin" / fault.file
    if not path.exists():
        path = folder / "keras_griffin" / EARLIER_NAMES[fault.file]
    source = path.read_text("utf-8")
    if source.count(fault.old) != 1:
        raise ValueError(
            f"put_in: the old text of {fault.name!r} must occur in {path.name} once. Got {source.count(fault.old)}."
        )
    path.write_text(source.replace(fault.old, fault.new), "utf-8")


def git(*arguments: str) -> bytes:
    """The output of a git command."""
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True).stdout


if __name__ == "__main__":
    main()
