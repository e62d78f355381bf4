"""The options of each command, parsed before any slow import: no module here needs Keras.

Each is a module whose docstring is the command's description, with `add_arguments(parser)`.
"""

from keras_griffin.commands.options import (
    chat,
    compare,
    convert,
    explain,
    fine_tune,
    generate,
    inspect,
    tokenize,
    train,
)

OPTIONS = {
    "train": train,
    "compare": compare,
    "fine-tune": fine_tune,
    "generate": generate,
    "chat": chat,
    "convert": convert,
    "tokenize": tokenize,
    "explain": explain,
    "inspect": inspect,
}

__all__ = ["OPTIONS"]
__dir__ = __all__.copy
