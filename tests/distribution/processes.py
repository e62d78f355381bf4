"""Run scripts of this folder in processes of their own, several at once, and collect their answers.

`python -m tests.distribution.processes SCRIPT FOLDER ARGUMENT_LISTS` imports what the script needs, which takes most of
the time, and only then divides into a process for each list of arguments, in JSON.
"""

import contextlib
import importlib
import json
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: The environment in which JAX divides the CPU into eight devices.
EIGHT_DEVICES = {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"}


def answers_of(script: str, *argument_lists, environment=None) -> list[dict]:
    """What a script prints after ANSWERS, for each list of arguments; all run at the same time."""
    settings = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", **(environment or {})}
    lists = json.dumps([[str(argument) for argument in arguments] for arguments in argument_lists])
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tests.distribution.processes", script, folder, lists]
        run = subprocess.run(command, env=settings, cwd=ROOT, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr[-3000:]
        outputs = [(Path(folder) / str(index)).read_text() for index in range(len(argument_lists))]
    return [json.loads(output.split("ANSWERS")[1]) for output in outputs]


def run_script(module, arguments, path):
    """Run a script as the command line would, and keep what it prints."""
    sys.argv[1:] = arguments
    with open(path, "w") as output, contextlib.redirect_stdout(output):
        runpy.run_module(module, run_name="__main__")


def main(script, folder, lists):
    module = f"tests.distribution.{script}"
    if os.environ["KERAS_BACKEND"] != "tensorflow":
        # As where it isn't installed: in seconds Keras would load it, to set its seed.
        sys.modules["tensorflow"] = None
    if os.environ["KERAS_BACKEND"] == "jax":
        importlib.import_module("tests.one_context")
    importlib.import_module(module)
    fork = multiprocessing.get_context("fork")
    running = [
        fork.Process(target=run_script, args=(module, arguments, os.path.join(folder, str(index))))
        for index, arguments in enumerate(json.loads(lists))
    ]
    for process in running:
        process.start()
    for process in running:
        process.join()
    sys.exit(any(process.exitcode for process in running))


if __name__ == "__main__":
    main(*sys.argv[1:])
