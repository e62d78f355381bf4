"""Continue a text with a model.

The model is one that train saved, a folder that save_to_preset wrote, or a released RecurrentGemma
or Mamba in a folder or on the Hugging Face Hub.
"""

import argparse

from keras_griffin.commands.arguments import positive_int, seed
from keras_griffin.commands.options.model import add_model_arguments
from keras_griffin.commands.options.sampling import add_sampling_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    add_model_arguments(parser)
    parser.add_argument(
        "--prompt",
        metavar="TEXT",
        help="what to continue (default: that of the run that trained the model, or else nothing)",
    )
    parser.add_argument(
        "--tokens",
        "--bytes",
        type=positive_int,
        default=500,
        metavar="N",
        help="maximum number of tokens; in a model of bytes, of bytes (default: %(default)s)",
    )
    parser.add_argument("--stream", action="store_true", help="print text as it is generated; Ctrl-C stops it")
    add_sampling_arguments(parser)
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="seed of the sampling (default: 0)")
