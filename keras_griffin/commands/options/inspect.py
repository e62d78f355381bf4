"""Plot a model's memory while it reads a text.

The result is one self-contained HTML page: how long each layer's channels remember, the gates and
the state over the text, the attention weights, which earlier tokens influence the prediction, and
what a longer context costs. It needs matplotlib: pip install 'keras-griffin[viz]'.
"""

import argparse

from keras_griffin.commands.options.model import add_dtype_argument

#: The default, which each call replaces.
PAGE = "inspect.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="the folder of a run, such as runs/NAME, or a .keras file; a preset's or a Hugging Face folder; "
        "hf://OWNER/NAME; or python_tiny",
    )
    parser.add_argument("text", nargs="?", metavar="TEXT", help="the text to read")
    parser.add_argument("--file", metavar="FILE", help="read the text from this file instead")
    parser.add_argument(
        "--output",
        default=PAGE,
        metavar="FILE",
        help="the page to write (default: %(default)s, which is always replaced)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace FILE if it exists")
    add_dtype_argument(parser)
