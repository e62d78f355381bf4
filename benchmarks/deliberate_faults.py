"""Mutation testing: put thirty faults into copies of the package, one at a time, and record which test catches each.

    python benchmarks/deliberate_faults.py [NAME ...]

The files are those of the working tree. The table is written to benchmarks/results/deliberate_faults.md, unless names
of faults, or parts of them, choose some. The exit status is 1 if the tests miss a fault.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
MISSED = "NOT CAUGHT"


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
        "ops/recurrence/torch_loop.py",
        "into_start = decay[:, first] * inputs_gradient[:, first]",
        "into_start = -decay[:, first] * inputs_gradient[:, first]",
        "torch",
        ("tests/ops/recurrence/test_torch_loops.py", "tests/ops/test_rows.py"),
    ),
    Fault(
        "a convolution's reset ignores the mask",
        "ops/shared/compaction.py",
        "take_steps(ops.logical_and(reset, mask), sources)",
        "take_steps(reset, sources)",
        "numpy",
        ("tests/ops/causal_conv/test_causal_conv.py",),
    ),
    Fault(
        "a scan's reset acts one step late",
        "ops/recurrence/marks.py",
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
        "[first * by.cosine - second * by.sine, second * by.cosine + first * by.sine]",
        "[first * by.cosine + second * by.sine, second * by.cosine - first * by.sine]",
        "numpy",
        ("tests/ops/test_rotary_embedding.py",),
    ),
    Fault(
        "the window of local attention is one key too long, by blocks",
        "ops/shared/attention_window.py",
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
        "ops/linear_cross_entropy/torch_chunked.py",
        "slope = None if soft_cap is None else 1.0 - (logits / soft_cap) ** 2",
        "slope = None",
        "torch",
        ("tests/ops/test_rows.py",),
    ),
    Fault(
        "weight decay acts on biases that are matrices",
        "models/training/optimizer.py",
        'name not in ("bias", "scale")',
        'name not in ("scale",)',
        "torch",
        ("tests/models/training/test_optimizer.py",),
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
        "models/training/chunked_loss.py",
        "return weighted_mean(nats, weights)",
        "return weighted_mean(nats, None)",
        "torch",
        ("tests/models/training/test_packed_model.py",),
    ),
    Fault(
        "a carried state goes on in a document that begins with a chunk",
        "models/documents.py",
        "ops.concatenate([ops.expand_dims(segment, 1), take_steps(",
        "ops.concatenate([ops.zeros_like(ops.expand_dims(segment, 1)), take_steps(",
        "numpy",
        ("tests/models/test_documents.py", "tests/models/training/test_carried_model.py"),
    ),
    Fault(
        "a preset's tensors are not compared with their checksums",
        "models/saving/checksums.py",
        'if array_crc32(array) != sums["tensors"].get(name):',
        'if name not in sums["tensors"]:',
        "numpy",
        ("tests/models/saving/test_checksums.py",),
    ),
    Fault(
        "a resumed run begins its epoch again",
        "training/resuming/run_course.py",
        "rest.start = self.start if epoch == self.epoch else 0",
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
    Fault(
        "a cut answer is no line of its own in the next turn",
        "commands/shared/conversation.py",
        'return ("" if self.is_ended else "\\n") + message + "\\n"',
        'return message + "\\n"',
        "numpy",
        ("tests/commands/shared/test_conversation.py",),
    ),
    Fault(
        "a row is packed beyond its capacity",
        "training/data/first_fit.py",
        "if room >= length), None)",
        "if room + 1 >= length), None)",
        "numpy",
        ("tests/training/data/test_first_fit.py", "tests/training/data/test_packing.py"),
    ),
    Fault(
        "an epoch has the windows of the one before",
        "training/data/byte_windows.py",
        "np.random.default_rng((self.seed, self.epoch, index))",
        "np.random.default_rng((self.seed, self.epoch // 2, index))",
        "numpy",
        ("tests/training/data/test_byte_windows.py",),
    ),
    Fault(
        "merged adapters lack their scale",
        "models/lora.py",
        "wide + (lora.alpha / lora.rank) * (a @ b)",
        "wide + a @ b",
        "numpy",
        ("tests/models/test_lora.py",),
    ),
    Fault(
        "a norm's scale is rounded to the compute dtype",
        "layers/rms_norm.py",
        "scale = 1.0 + ops.cast(self.scale, wide.dtype)",
        "scale = ops.cast(ops.cast(1.0 + self.scale, self.compute_dtype), wide.dtype)",
        "numpy",
        ("tests/layers/test_layers.py",),
    ),
    Fault(
        "the bound of the logits is computed in the compute dtype",
        "layers/token_embedding.py",
        "self.soft_cap * ops.tanh(logits / self.soft_cap)",
        'ops.cast(self.soft_cap * ops.tanh(ops.cast(logits / self.soft_cap, self.compute_dtype)), "float32")',
        "numpy",
        ("tests/layers/test_layers.py",),
    ),
    Fault(
        "the gradient of the table is summed in bfloat16",
        "ops/linear_cross_entropy/torch_chunked.py",
        "into_table = torch.zeros_like(table, dtype=log_sums.dtype, memory_format",
        "into_table = torch.zeros_like(table, memory_format",
        "torch",
        ("tests/ops/linear_cross_entropy/test_implementations.py",),
    ),
    Fault(
        "dropout leaves out the MLP's branch",
        "layers/residual_block.py",
        "inputs = inputs + self._dropped(self.mlp(self.mlp_norm(inputs)))",
        "inputs = inputs + self.mlp(self.mlp_norm(inputs))",
        "numpy",
        ("tests/layers/test_layers.py",),
    ),
    Fault(
        "the embedding decays",
        "models/training/optimizer.py",
        'spared = {"token_embedding"}.union(',
        "spared = set().union(",
        "numpy",
        ("tests/models/test_every_mixer.py", "tests/models/training/test_optimizer.py"),
    ),
    Fault(
        "a text that follows another has no first word",
        "tokenizers/incremental_decoder.py",
        "        self._is_first = True\n        return",
        "        return",
        "numpy",
        ("tests/tokenizers/test_incremental_decoder.py",),
    ),
]


def main():
    """Put in the faults that the command line names, or all."""
    chosen = [fault for fault in FAULTS if any(name in fault.name for name in sys.argv[1:] or [""])]
    commit = subprocess.check_output(["git", "describe", "--always", "--dirty"], cwd=ROOT, text=True).strip()
    report = [
        f"`python benchmarks/deliberate_faults.py`: {len(FAULTS)} faults, the tests of {commit}.\n",
        "| fault | backend | file | caught by | seconds |",
        "|---|---|---|---|---|",
    ]
    print("\n".join(report), flush=True)
    missed = 0
    for fault in chosen:
        test, seconds = caught_by(fault)
        missed += test == MISSED
        report.append(f"| {fault.name} | {fault.backend} | `{fault.file}` | {test} | {seconds:.0f} |")
        print(report[-1], flush=True)
    if chosen == FAULTS:
        (ROOT / "benchmarks" / "results" / "deliberate_faults.md").write_text("\n".join(report) + "\n", "utf-8")
    sys.exit(missed > 0)


def caught_by(fault: Fault) -> tuple[str, float]:
    """The first test that fails with a fault in the package, or `MISSED`; and the seconds that pytest took.

    Raises:
        ValueError: the old text does not occur exactly once in the file.
        RuntimeError: pytest did not run a test.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_files(folder)
        put_in(fault, folder)
        settings = {
            "KERAS_BACKEND": fault.backend,
            "KERAS_HOME": str(folder),
            "MPLBACKEND": "Agg",
            "PYTHONPATH": str(folder),
            "TF_CPP_MIN_LOG_LEVEL": "2",
        }
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *fault.tests]
        start = time.perf_counter()
        run = subprocess.run(command, cwd=folder, env={**os.environ, **settings}, capture_output=True, text=True)
        seconds = time.perf_counter() - start
    failed = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", run.stdout, re.MULTILINE)
    if run.returncode == 0:
        return MISSED, seconds
    if run.returncode != 1 or failed is None:
        raise RuntimeError(f"caught_by: pytest must run a test of {fault.name!r}. Got {run.stdout}{run.stderr}")
    return f"`{failed[1]}`", seconds


def copy_files(folder: Path) -> None:
    """Copy the tracked files of the working tree into a folder."""
    for name in subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT, text=True).split("\0"):
        # A tracked file may be missing.
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)


def put_in(fault: Fault, folder: Path) -> None:
    """Replace the old text by the new one.

    Raises:
        ValueError: the old text does not occur exactly once in the file.
    """
    path = folder / "keras_griffin" / fault.file
    source = path.read_text("utf-8")
    if source.count(fault.old) != 1:
        raise ValueError(
            f"put_in: the old text of {fault.name!r} must occur in {path.name} once. Got {source.count(fault.old)}."
        )
    path.write_text(source.replace(fault.old, fault.new), "utf-8")


if __name__ == "__main__":
    main()
