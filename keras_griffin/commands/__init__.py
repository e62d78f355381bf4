"""The commands of `python -m keras_griffin`: each has its options, and a module with `run(arguments)`."""

import importlib
from types import ModuleType


def find_command(name: str) -> ModuleType:
    """The module that runs a command, imported with its dependencies.

    Args:
        name: as typed: a key of `keras_griffin.commands.options.OPTIONS`.
    """
    return importlib.import_module(f"keras_griffin.commands.{name.replace('-', '_')}")
