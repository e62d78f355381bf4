"""The sampling options of commands that generate text."""

import argparse

from keras_griffin.commands.arguments import non_negative_float, share


def add_sampling_arguments(parser: argparse._ActionsContainer) -> None:
    """How the next token is drawn: `--temperature` and `--top-p`."""
    parser.add_argument(
        "--temperature",
        type=non_negative_float,
        default=0.7,
        metavar="X",
        help="below 1 favours likely tokens, 0 always takes the likeliest (default: %(default)s)",
    )
    parser.add_argument(
        "--top-p",
        type=share,
        default=0.95,
        metavar="P",
        help="sample from the likeliest tokens whose total probability is P (default: %(default)s)",
    )
