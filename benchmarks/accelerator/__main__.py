"""The command line; what it does is in the package's docstring."""

import argparse
import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path

import benchmarks.accelerator as package
from benchmarks.accelerator import journal
from benchmarks.accelerator.plan import PARTS, Part, parts_named, still_to_run
from benchmarks.accelerator.processes import ROOT, run_part
from benchmarks.accelerator.report import report


def main(arguments: list[str] | None = None, plan: tuple[Part, ...] = PARTS) -> int:
    """Run what is still to run, write the page, and return the exit status."""
    options = parsed(arguments, plan)
    parts = options.part
    options.file.parent.mkdir(parents=True, exist_ok=True)
    finished = {name for name, attempt in journal.read(options.file).items() if attempt.is_done}
    for part in still_to_run(parts, finished, options.again):
        print(f"{part.name}: {part.about}, at most {part.limit * options.patience:.0f} s", flush=True)
        run_part(part, options.file, options.quick, options.patience)
    attempts = journal.read(options.file)
    page = options.file.with_suffix(".md")
    page.write_text(report(f"Accelerator, {backend()}", attempts, plan))
    print(f"\nwritten to {page}, from {options.file}")
    return status(parts, attempts)


def status(parts: Iterable[Part], attempts: dict[str, journal.Attempt]) -> int:
    """1 if a check failed, or if a part that makes checks did not come to its end; else 0."""
    failed = [check for part in parts for check in attempts[part.name].failed_checks]
    unjudged = [part.name for part in parts if part.judges and not attempts[part.name].is_done]
    for check in failed:
        print(f"FAILED: {check['subject']}, {check['name']}: {check['detail']}")
    for name in unjudged:
        print(f"FAILED: {name} did not come to its end.")
    return int(bool(failed or unjudged))


def backend() -> str:
    """The backend of all parts."""
    return os.environ.get("KERAS_BACKEND", "torch")


def parsed(arguments, plan):
    """The options."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accelerator",
        description=package.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = ",".join(part.name for part in plan)
    parser.add_argument("--part", metavar="NAMES", default=names, help="separated by commas (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="small sizes, and less of everything")
    parser.add_argument("--again", action="store_true", help="repeat parts that have ended well")
    parser.add_argument("--patience", type=float, default=1.0, help="what every limit is multiplied by")
    parser.add_argument("--file", type=Path, help="default: runs/accelerator/BACKEND[-quick].jsonl")
    options = parser.parse_args(arguments)
    try:
        options.part = parts_named(options.part.split(","), plan)
    except ValueError as error:
        parser.error(str(error))
    name = f"{backend()}{'-quick' * options.quick}.jsonl"
    options.file = (options.file or ROOT / "runs" / "accelerator" / name).resolve()
    return options


def on_terminate(signum, frame):
    """End the part that runs too, which is in a session of its own."""
    raise SystemExit(128 + signum)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, on_terminate)
    sys.exit(main())
