"""The commands of `python -m keras_griffin`: each is a module, listed here in the order of the help.

Its docstring describes the command, `add_arguments(parser)` adds its options, and `run(arguments)` returns the exit
code. It imports Keras, and all that needs Keras, inside functions: help and wrong options must not wait for it.
"""

import importlib
from types import ModuleType

COMMANDS = ("train", "compare", "fine-tune", "generate", "chat", "convert", "tokenize", "explain", "inspect")


def find_command(name: str) -> ModuleType:
    """The module of a command, by its name as typed."""
    return importlib.import_module(f"keras_griffin.commands.{name.replace('-', '_')}")
