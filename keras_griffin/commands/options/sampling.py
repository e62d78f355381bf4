"""How the next token is drawn, for the commands that let a model write."""

import argparse

from keras_griffin.commands.arguments import non_negative_float, share


def add_sampling_arguments(parser: argparse._ActionsContainer) -> None:
    """How the next token is drawn; `train` and `chat` ask too."""
    parser.add_argument(
        "--temperature",
        type=non_negative_float,
        default=0.7,
        metavar="X",
        help="below 1 it keeps to what is likely, 0 takes the likeliest token always (default: %(default)s)",
    )
    parser.add_argument(
        "--top-p",
        type=share,
        default=0.95,
        metavar="P",
        help="draw among the likeliest tokens that together have this probability (default: %(default)s)",
    )
