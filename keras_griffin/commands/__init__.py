"""The commands of `python -m keras_griffin`: each a module with `add_arguments(parser)` and `run(arguments)`."""

from keras_griffin.commands import chat, convert, explain, generate, train

COMMANDS = {"train": train, "generate": generate, "chat": chat, "convert": convert, "explain": explain}

__all__ = ["COMMANDS"]
