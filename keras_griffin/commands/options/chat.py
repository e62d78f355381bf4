"""Chat with a model.

The whole conversation is one state of constant size, and the model reads each token once: turn 1000
takes as much time and memory as turn 1, and older turns are remembered as far as they fit into the
state. (With global attention the model keeps every token, and its state grows.)

If the vocabulary has Gemma's turn markers, messages are formatted as for Gemma's instruction-tuned
models. Any other model reads your message as a line of text, and its answer ends with the first
non-empty line that it writes.

Ctrl-C cuts an answer short; at the prompt, Ctrl-C or Ctrl-D quits. /help lists the commands. If the
input is not a terminal, each line is a message, and only the answers are printed.
"""

import argparse

from keras_griffin.commands.arguments import positive_int, seed
from keras_griffin.commands.options.model import add_model_arguments
from keras_griffin.commands.options.sampling import add_sampling_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    add_model_arguments(parser)
    parser.add_argument(
        "--tokens", type=positive_int, default=500, metavar="N", help="maximum per answer (default: %(default)s)"
    )
    add_sampling_arguments(parser)
    parser.add_argument(
        "--seed", type=seed, metavar="N", help="make the conversation repeatable (default: a fresh seed)"
    )
