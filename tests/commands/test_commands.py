import subprocess
import sys

import pytest

from keras_griffin.commands import find_command
from keras_griffin.commands.options import OPTIONS

pytestmark = pytest.mark.any_backend


def test_a_command_is_options_and_an_action():
    ours = ["train", "compare", "fine-tune", "generate", "chat", "convert", "tokenize", "explain", "inspect"]
    assert list(OPTIONS) == ours
    for name, options in OPTIONS.items():
        assert callable(options.add_arguments) and callable(find_command(name).run)
        assert options.__doc__.splitlines()[0].endswith(".")


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["train", "--width", "no"], ["nothing"]])
def test_neither_keras_nor_a_backend_is_loaded_for_help_or_for_a_wrong_option(arguments):
    command = [sys.executable, "-X", "importtime", "-m", "keras_griffin", *arguments]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == (0 if "--help" in arguments else 2)
    imported = {line.split("|")[-1].strip() for line in run.stderr.splitlines() if line.startswith("import time:")}
    assert "argparse" in imported and "keras_griffin.commands.options.train" in imported
    assert not imported & {"keras", "numpy", "jax", "torch", "tensorflow"}
