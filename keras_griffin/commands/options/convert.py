"""Turn a checkpoint into a preset, or into a folder for Hugging Face.

SOURCE is a folder or a file of RecurrentGemma, by Hugging Face or DeepMind; or a folder that
save_to_preset wrote; or hf://OWNER/NAME. TARGET is a folder that there is not yet, or one of the
same format, which is replaced when the new one is whole.
"""

import argparse

from keras_griffin.commands.options.model import DTYPES

FORMATS = ("preset", "huggingface")
BITS = ("int8", "int4")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("source", metavar="SOURCE", help="a folder, a file, or hf://OWNER/NAME")
    parser.add_argument("target", metavar="TARGET", help="the folder to write")
    parser.add_argument("--to", choices=FORMATS, default="preset", help="the folder's format (default: %(default)s)")
    parser.add_argument(
        "--dtype", choices=DTYPES, metavar="DTYPE", help=f"{', '.join(DTYPES)} (default: a preset's own, or float32)"
    )
    parser.add_argument("--quantize", choices=BITS, help="the projections and gates of a preset, to so many bits")
