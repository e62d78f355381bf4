"""Tests that need eight devices: run by pytest in a process of its own, where JAX divides the CPU into eight.

assert_they_pass("exchange")        runs the tests in `exchange_on_eight_devices.py`
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import keras

from tests.distribution.processes import EIGHT_DEVICES

FOLDER = Path(__file__).resolve().parent


def assert_they_pass(name):
    path = FOLDER / f"{name}_on_eight_devices.py"
    environment = {**os.environ, **EIGHT_DEVICES, "KERAS_BACKEND": "jax"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(path)]
    run = subprocess.run(command, cwd=FOLDER.parent.parent, capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stdout + run.stderr


def mesh_of(devices, axis_name="time"):
    """A mesh of so many devices along one axis."""
    names = keras.distribution.list_devices()[:devices]
    return keras.distribution.DeviceMesh((devices,), (axis_name,), names)


def collectives(program):
    """Each message in a compiled program: its kind, and the type of what a device has afterwards."""
    kinds = "all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter|collective-broadcast"
    return sorted(
        (kind, shape) for shape, kind in re.findall(rf"= (\S+|\(.*?\)) ({kinds})(?:-start)?\(", program.as_text())
    )
