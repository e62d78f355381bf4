"""All benchmarks on every backend, each in a process of its own, into one file.

    python benchmarks/run.py [--backends jax,torch] [--only scan,model]

The file is benchmarks/results/<machine>.md, written when all have ended.
"""

import argparse
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


def main():
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", default="jax,torch,tensorflow")
    parser.add_argument("--only", default="scan,attention,growth,model")
    parser.add_argument("--machine", default=f"cpu-{os.cpu_count()}-cores", help="name of the file of results")
    options = parser.parse_args()
    report = [f"# {options.machine}\n", f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores. "]
    report[-1] += ", ".join(f"{name} {version(name)}" for name in ("keras", *options.backends.split(","))) + ".\n"
    report.append(f"`python benchmarks/run.py --only {options.only}`\n")
    for name in options.only.split(","):
        for backend in options.backends.split(","):
            run = subprocess.run(
                [sys.executable, FOLDER / f"{name}.py"],
                env={
                    **os.environ,
                    "PYTHONPATH": str(FOLDER.parent),
                    "KERAS_BACKEND": backend,
                    "TF_CPP_MIN_LOG_LEVEL": "2",
                },
                stdout=subprocess.PIPE,
                text=True,
            )
            print(run.stdout, flush=True)
            report.append(run.stdout)
            if run.returncode:
                raise SystemExit(f"run: {name}.py failed on {backend} with status {run.returncode}.")
    path = FOLDER / "results" / f"{options.machine}.md"
    whole = path.with_suffix(".tmp")
    whole.write_text("\n".join(report))
    whole.replace(path)
    print(f"written to {path}")


if __name__ == "__main__":
    main()
