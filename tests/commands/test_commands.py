import subprocess
import sys

import pytest

from keras_griffin.commands import COMMANDS, find_command

pytestmark = pytest.mark.any_backend


def test_every_command_is_a_module_with_options_and_an_action():
    ours = ["chat", "compare", "convert", "explain", "export", "fine-tune", "generate", "inspect", "serve", "tokenize"]
    assert [*ours, "train"] == COMMANDS
    for command in map(find_command, COMMANDS):
        assert callable(command.add_arguments) and callable(command.run)
        assert command.__doc__.splitlines()[0].endswith(".")


@pytest.mark.parametrize("arguments", [["train", "--help"], ["train", "--width", "no"]])
def test_neither_keras_nor_a_backend_is_loaded_for_help_or_for_a_wrong_option(arguments):
    command = [sys.executable, "-X", "importtime", "-m", "keras_griffin", *arguments]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == (0 if "--help" in arguments else 2)
    imported = {line.split("|")[-1].strip() for line in run.stderr.splitlines() if line.startswith("import time:")}
    # Commands are imported by name, which is not listed, but what they import is.
    assert {"argparse", "keras_griffin.commands.shared.options"} <= imported
    assert not imported & {"keras", "numpy", "jax", "torch", "tensorflow"}
