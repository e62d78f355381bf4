"""Continue a text with a model.

The model is one that `train` saved, or a folder that `save_to_preset` wrote, or a released
RecurrentGemma in a folder or on the Hugging Face Hub.
"""

import argparse

from keras_griffin.commands.arguments import positive_int, seed
from keras_griffin.commands.options.model import add_model_arguments
from keras_griffin.commands.options.sampling import add_sampling_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    add_model_arguments(parser)
    parser.add_argument("--prompt", default="def ", metavar="TEXT", help="what to continue (default: %(default)r)")
    parser.add_argument(
        "--tokens",
        "--bytes",
        type=positive_int,
        default=500,
        metavar="N",
        help="how much to write at most; for a model of bytes a token is one (default: %(default)s)",
    )
    parser.add_argument("--stream", action="store_true", help="print as it is written; Ctrl-C ends it")
    add_sampling_arguments(parser)
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="another seed, another text (default: 0)")
