"""Train small models of several mixers on the same text, and compare them.

FILES are read as by train, as bytes; without them the text is the source of Python's standard
library. All models have the same width, the same number of layers, and, by the width of their MLPs,
the same number of parameters. They see the same batches in the same order. The table has a line for
each: the held-out bits per byte, the speed of training, and the time of a token and the bytes of a
row's state when decoding.

Small models tell little of large ones, and one seed is one draw: repeat a comparison with another
--seed before you believe a small difference.
"""

import argparse

from keras_griffin.commands.arguments import names, positive_float, positive_int
from keras_griffin.commands.arguments import seed as seed_number

MIXERS = "recurrent,mamba,rwkv4+rwkv4_channel,lru"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("files", nargs="*", metavar="FILES", help="files or folders of text")
    parser.add_argument("--include-binary", action="store_true", help="also read binary files inside folders")
    models = parser.add_argument_group("models")
    models.add_argument(
        "--mixers",
        type=names,
        default=MIXERS.split(","),
        metavar="A,B+C,...",
        help="what to compare: names as in train --pattern; a + joins those that alternate in one model (default: "
        f"{MIXERS})",
    )
    _add_integer(models, "--width", 128, "width of the residual stream")
    _add_integer(models, "--layers", 4, "residual blocks")
    training = parser.add_argument_group("training")
    length = training.add_mutually_exclusive_group()
    length.add_argument(
        "--minutes",
        type=positive_float,
        default=10.0,
        metavar="X",
        help="train for about this long, all models together (default: 10)",
    )
    length.add_argument("--steps", type=positive_int, metavar="N", help="train each model for N batches instead")
    _add_integer(training, "--sequence-length", 256, "bytes in a window")
    _add_integer(training, "--batch-size", 8, "windows in a batch")
    training.add_argument(
        "--learning-rate",
        type=positive_float,
        default=3e-3,
        metavar="X",
        help="peak learning rate (default: %(default)s)",
    )
    training.add_argument(
        "--seed",
        type=seed_number,
        default=0,
        metavar="N",
        help="seed of the split, the weights and the batches (default: 0)",
    )
    parser.add_argument(
        "--output", metavar="FOLDER", help="write the table as CSV and Markdown, and a plot, into this folder"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier comparison in FOLDER")


def _add_integer(group, option: str, default: int, text: str) -> None:
    group.add_argument(option, type=positive_int, default=default, metavar="N", help=f"{text} (default: {default})")
