"""The commands of `python -m keras_griffin`: each a module with `add_arguments(parser)` and `run(arguments)`."""

from keras_griffin.commands import explain, generate, train

COMMANDS = {"train": train, "generate": generate, "explain": explain}

__all__ = ["COMMANDS"]
