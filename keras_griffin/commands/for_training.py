"""What the commands that train do first."""

import keras

from keras_griffin.backend import BACKENDS
from keras_griffin.commands.errors import CommandError
from keras_griffin.program import is_command_line
from keras_griffin.training import retain_memory


def prepare_training(command: str) -> None:
    """Refuse a backend that computes no gradients, and let the process of a command line keep its memory.

    Args:
        command: its name, for the message.
    """
    backend = keras.backend.backend()
    if backend not in BACKENDS:
        raise CommandError(
            f"{command}: KERAS_BACKEND must be one of {', '.join(BACKENDS)}. Got {backend}, which computes no "
            "gradients."
        )
    # A program that imports a command keeps its own ways.
    if is_command_line():
        retain_memory()
