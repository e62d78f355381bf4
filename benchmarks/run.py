"""Run the benchmarks on every backend, each in a separate process, with one result file for each benchmark.

    python benchmarks/run.py [--only scan,model] [--backends jax,torch] [--machine NAME] [--text FILE]

The files are benchmarks/results/<benchmark>-<machine>.md; under `taskset -c 0` the machine has one core. The following
run only if named in --only: `shakespeare`, which needs --text; `memory` and `scaling`, which also draw plots;
`first_tokens`; `hundred_million`, which needs 10 GB of memory; `int8_decoding`; `lineage`, which also draws one, takes
days on few cores, and continues from the file of its finished parts; `lora`; `native_kernel`; `packing`;
`recurrent_decode`; `retained_memory`, which like `hundred_million` needs 10 GB of memory; `selective_scan`;
`training_memory`; and `two_billion`, which needs 6 GB of disk and 14 GB of memory.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from cores import machine_name, usable_cores

FOLDER = Path(__file__).resolve().parent
BENCHMARKS = ("scan", "kernels", "attention", "growth", "model", "decode")
NAMED = (
    "first_tokens",
    "hundred_million",
    "int8_decoding",
    "lineage",
    "lora",
    "shakespeare",
    "memory",
    "native_kernel",
    "packing",
    "recurrent_decode",
    "retained_memory",
    "scaling",
    "selective_scan",
    "training_memory",
    "two_billion",
)
PACKAGES = (
    "keras",
    "numpy",
    "jax",
    "torch",
    "tensorflow",
    "mambapy",
    "transformers",
    "recurrentgemma",
    "accelerated-scan",
    "flash-linear-attention",
)


def main():
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(BENCHMARKS), help="separated by commas (default: %(default)s)")
    parser.add_argument("--backends", default="jax,torch,tensorflow", help="separated by commas")
    parser.add_argument("--machine", default=machine_name(), help="in the names of the files")
    parser.add_argument("--text", metavar="FILE", help="what shakespeare trains on")
    options = parser.parse_args()
    names = options.only.split(",")
    unknown = set(names) - {*BENCHMARKS, *NAMED}
    if unknown:
        parser.error(f"the benchmarks are {', '.join((*BENCHMARKS, *NAMED))}. Got {', '.join(sorted(unknown))}.")
    if "shakespeare" in names and not (options.text and Path(options.text).is_file()):
        parser.error(f"shakespeare needs --text FILE. Got {options.text!r}.")
    for name in names:
        report = [f"# {name}, {options.machine}\n\n{machine()}\n"]
        for backend in options.backends.split(","):
            plot = FOLDER / "results" / f"{name}-{backend}-{options.machine}.png"
            arguments = {"lineage": [plot.with_suffix(".csv")], "memory": [plot], "scaling": [plot]}
            arguments |= {"shakespeare": [options.text], "two_billion": [tempfile.gettempdir()]}
            report.append(run(name, backend, arguments.get(name, [])))
        write(FOLDER / "results" / f"{name}-{options.machine}.md", "\n".join(report))


def machine():
    """The processor, and the versions of all measured packages."""
    cpu_info = Path("/proc/cpuinfo")
    lines = cpu_info.read_text().splitlines() if cpu_info.exists() else []
    names = {line.partition(":")[2].strip() for line in lines if line.startswith("model name")}
    processor = ", ".join(sorted(names)) or platform.processor() or platform.machine()
    versions = [f"Python {platform.python_version()}", *filter(None, map(installed, PACKAGES))]
    used = "" if usable_cores() == os.cpu_count() else f"{usable_cores()} of "
    return f"{processor}, {used}{os.cpu_count()} cores. {', '.join(versions)}."


def installed(package):
    """The package with its version, or None."""
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return None


def run(name, backend, arguments):
    """The output of one benchmark on one backend."""
    settings = {"PYTHONPATH": str(FOLDER.parent), "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "2"}
    command = [sys.executable, FOLDER / f"{name}.py", *arguments]
    with subprocess.Popen(command, env={**os.environ, **settings}, stdout=subprocess.PIPE, text=True) as process:
        printed = []
        for line in process.stdout:
            print(line, end="", flush=True)
            printed.append(line)
    if process.returncode:
        raise SystemExit(f"run: {name}.py failed on {backend} with status {process.returncode}.")
    return "".join(printed)


def write(path, text):
    """Write a file atomically."""
    path.parent.mkdir(exist_ok=True)
    aside = path.with_suffix(".tmp")
    aside.write_text(text)
    aside.replace(path)
    print(f"\nwritten to {path}")


if __name__ == "__main__":
    main()
