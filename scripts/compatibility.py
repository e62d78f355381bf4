"""Run a short set of tests with the oldest and the newest Keras and backends that pyproject.toml admits.

    python3 scripts/compatibility.py [--only oldest] [--backends jax,torch]

Each has an environment of its own, `.venv-oldest` and `.venv-newest`, with the first of some interpreters that is
there: the newest JAX may need a newer Python than this package. The newest versions are looked for at each run.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib

from environment import ROOT, interpreter

BACKENDS = ("jax", "torch", "tensorflow")
PACKAGES = ("keras", *BACKENDS)
#: For each age, in order of preference. TensorFlow has wheels up to the last.
PYTHONS = {"oldest": ("python3.11",), "newest": ("python3.13", "python3.12", "python3.11")}
#: Files, and which of their tests: the scans, values and gradients; a small model's fit, file and decoding; for JAX
#: also the kernels over devices, in the interpreter, those for TPUs, compiled only, and, with the newest, those of
#: PyTorch, compiled and compared; for PyTorch its Triton's kernels for GPUs, compiled only, and where their warps wait.
FILES = (
    "tests/ops/test_rows.py",
    "tests/distribution/test_kernels_on_eight_devices.py",
    "tests/ops/test_enable_x64.py",
    "tests/ops/test_jax_pallas_tpu.py",
    "tests/ops/test_jax_triton.py",
    "tests/ops/test_torch_triton.py",
    "tests/models/test_language_model.py",
    "tests/generation/test_generate.py",
)
TESTS = (
    "(linear_scan or rg_lru) and (T5-B3-D5 or T65-B3-D5 or T2-B3-D5)",
    "on_eight_devices",
    "decays_of_float64",
    "launch_the_same_programs",
    "the_compiler_of_tpus_takes and v5e",
    "compiled_ahead_of_time",
    "compiled_without_pieces",
    "stays_in_registers",
    "fit_needs_nothing_else",
    "saved_and_loaded_without_custom_objects",
    "greedy_text",
)


def main():
    """Run what the command line asks for, and print a table as it grows; return None, or an error message."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(PYTHONS), help="default: both")
    parser.add_argument("--backends", default=",".join(BACKENDS), help="separated by commas (default: %(default)s)")
    options = parser.parse_args()
    failed = False
    print("| versions | backend | | tests | |\n|---|---|---|---|---|", flush=True)
    for age in [options.only] if options.only else PYTHONS:
        environment = installed(age)
        for backend in options.backends.split(","):
            start = time.perf_counter()
            last, status = tested(environment, backend)
            failed |= status != 0
            seconds = f"{time.perf_counter() - start:.0f} s"
            print(f"| {age} | {backend} | {versions(environment, backend)} | {last} | {seconds} |", flush=True)
    return "Some tests failed; see above." if failed else None


def installed(age):
    """The folder of the environment of an age, with everything installed."""
    environment = ROOT / f".venv-{age}"
    constraints = ROOT / f".venv-{age}.txt"
    constraints.write_text("\n".join(lower_bounds()) if age == "oldest" else "", "utf-8")
    variables = {**os.environ, "PIP_CONSTRAINT": str(constraints)}
    names = [*BACKENDS, "tpu-check", "compatibility"]
    command = [python_for(age), ROOT / "scripts/environment.py", "--into", environment.name, *names]
    subprocess.run(command, env=variables, check=True)
    if age == "newest":
        # With the compiler of TPUs that belongs to it, and jax-triton, which the oldest JAX is too old for.
        packages = ["jax[tpu]" if package == "jax" else package for package in PACKAGES]
        upgrade = ["-m", "pip", "install", "-q", "--upgrade", *packages, "jax-triton"]
        subprocess.run([interpreter(environment), *upgrade], check=True)
    return environment


def lower_bounds():
    """The least versions that pyproject.toml admits, as pip's constraints."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    bounds = [*project["dependencies"], *(bound for backend in BACKENDS for bound in extras[backend])]
    return [bound.replace(">=", "==") for bound in bounds if re.match(r"\w+", bound)[0] in PACKAGES]


def python_for(age):
    """The first interpreter that is there and runs; otherwise the one that runs this."""
    for name in PYTHONS[age]:
        found = shutil.which(name)
        if found and not subprocess.call([found, "-c", "import ensurepip, venv"], stderr=subprocess.DEVNULL):
            return found
    return sys.executable


def tested(environment, backend):
    """The last line that pytest prints, and its status; of tests that fail, all that it prints."""
    variables = {**os.environ, "KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu"}
    command = [interpreter(environment), "-m", "pytest", "-q", *FILES, "-k", " or ".join(f"({test})" for test in TESTS)]
    run = subprocess.run(command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, text=True)
    if run.returncode:
        print(run.stdout, flush=True)
    return (run.stdout.strip().splitlines() or ["ended without a word"])[-1], run.returncode


def versions(environment, backend):
    """The installed versions, as the table has them."""
    program = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
    command = [interpreter(environment), "-c", program, "keras", backend]
    keras, active = subprocess.check_output(command, text=True).split()
    return f"keras {keras}, {backend} {active}"


if __name__ == "__main__":
    sys.exit(main())
