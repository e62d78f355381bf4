"""Convert a checkpoint to a preset, or to a folder for Hugging Face.

SOURCE is the folder of a run, or a .keras file; a checkpoint of RecurrentGemma by Hugging Face or
DeepMind, or of Mamba or RWKV-4 by Hugging Face or its authors (a folder or a file); what
save_to_preset wrote; or hf://OWNER/NAME. TARGET is a new folder, or an earlier result, which
--overwrite replaces once the new one is complete.
"""

import argparse

from keras_griffin.commands.options.model import DTYPES

FORMATS = ("preset", "huggingface")
BITS = ("int8", "int4")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("source", metavar="SOURCE", help="a folder, a file, or hf://OWNER/NAME")
    parser.add_argument("target", metavar="TARGET", help="the folder to write")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier result in TARGET")
    parser.add_argument("--to", choices=FORMATS, default="preset", help="the folder's format (default: %(default)s)")
    parser.add_argument(
        "--dtype",
        choices=DTYPES,
        metavar="DTYPE",
        help=f"{', '.join(DTYPES)} (default: that of the preset, or float32); not for a .keras file",
    )
    parser.add_argument("--quantize", choices=BITS, help="quantise the projections and gates of the preset")
