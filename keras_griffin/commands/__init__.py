"""The commands of `python -m keras_griffin`: each a module with `add_arguments(parser)` and `run(arguments)`."""

from keras_griffin.commands import chat, convert, explain, fine_tune, generate, tokenize, train

COMMANDS = {
    "train": train,
    "fine-tune": fine_tune,
    "generate": generate,
    "chat": chat,
    "convert": convert,
    "tokenize": tokenize,
    "explain": explain,
}

__all__ = ["COMMANDS"]
