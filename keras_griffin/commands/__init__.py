"""The commands of `python -m keras_griffin`: for each, its options, and a module with `run(arguments)`."""

import importlib
from types import ModuleType


def find_command(name: str) -> ModuleType:
    """The module that runs a command, loaded with all that it needs.

    Args:
        name: as it is typed: a key of `keras_griffin.commands.options.OPTIONS`.
    """
    return importlib.import_module(f"keras_griffin.commands.{name.replace('-', '_')}")
