"""The commands of `python -m keras_griffin`: each module of this folder is one.

Its docstring describes the command, `add_arguments(parser)` adds its options, and `run(arguments)` returns the exit
code. It imports Keras, and all that needs Keras, inside functions: help and wrong options must not wait for it.
"""

import importlib
import pkgutil
from types import ModuleType

#: Their names, as typed.
COMMANDS = sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__) if not module.ispkg)


def find_command(name: str) -> ModuleType:
    """The module of a command, by its name as typed."""
    return importlib.import_module(f"keras_griffin.commands.{name.replace('-', '_')}")
