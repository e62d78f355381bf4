"""Run scripts of this folder in processes of their own, several at once, and collect their answers."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: The environment in which JAX divides the CPU into eight devices.
EIGHT_DEVICES = {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"}


def answers_of(script: str, *argument_lists, environment=None) -> list[dict]:
    """What a script prints after ANSWERS, for each list of arguments; all run at the same time."""
    settings = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", **(environment or {})}
    commands = [
        [sys.executable, "-m", f"tests.distribution.{script}", *map(str, arguments)] for arguments in argument_lists
    ]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = [subprocess.Popen(command, env=settings, cwd=ROOT, **pipes) for command in commands]
    try:
        ended = [process.communicate() for process in running]
    finally:
        for process in running:
            process.kill()
    for process, (_, errors) in zip(running, ended, strict=True):
        assert process.returncode == 0, errors[-3000:]
    return [json.loads(output.split("ANSWERS")[1]) for output, _ in ended]
