"""Talk with a model.

The model keeps one state for the whole talk and reads each word once: a turn takes as long, and as
much memory, after a thousand turns as after one, and of what was said long ago the model knows what
fits in there. (With global attention it keeps everything, and grows.)

A model whose vocabulary has Gemma's marks of turns is spoken to as Gemma's instruction-tuned models
are. Any other reads what you type as a line, and answers with what it would write up to the end of
its next line that is not empty.

Ctrl-C cuts an answer short, and at the prompt it ends the talk, as does Ctrl-D. /help lists the
commands. Where the input is no terminal, each line is a message, and only answers are printed.
"""

import argparse

from keras_griffin.commands.arguments import positive_int, seed
from keras_griffin.commands.options.model import add_model_arguments
from keras_griffin.commands.options.sampling import add_sampling_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    add_model_arguments(parser)
    parser.add_argument(
        "--tokens", type=positive_int, default=500, metavar="N", help="of one answer at most (default: %(default)s)"
    )
    add_sampling_arguments(parser)
    parser.add_argument(
        "--seed", type=seed, metavar="N", help="make the talk repeatable (default: another one each time)"
    )
