"""Plot a model's memory while it reads a text.

The result is one self-contained HTML page: how long each layer's channels remember, the gates and
the state over the text, the attention weights, which earlier tokens influence the prediction, and
what a longer context costs. It needs matplotlib: pip install 'keras-griffin[viz]'.
"""

import argparse
import importlib.util
from pathlib import Path

from keras_griffin.commands.shared.errors import CommandError, refusals, refusals_of_the_disk
from keras_griffin.commands.shared.options import MODEL, add_dtype, add_output
from keras_griffin.commands.shared.outputs import check_new_file

#: The default, which each call replaces.
PAGE = "inspect.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("model", metavar="MODEL", help=MODEL)
    parser.add_argument("text", nargs="?", metavar="TEXT", help="the text to read")
    parser.add_argument("--file", metavar="FILE", help="read the text from this file instead")
    text = "the page to write (default: %(default)s, which is always replaced)"
    add_output(parser, "FILE", text, "FILE if it exists", default=PAGE)
    add_dtype(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the page and print its path."""
    from keras_griffin.commands.shared.load import load_text_model
    from keras_griffin.files.atomic import atomic_file
    from keras_griffin.inspection.page import inspection_page

    if importlib.util.find_spec("matplotlib") is None:
        raise CommandError("inspect: matplotlib must be installed: pip install 'keras-griffin[viz]'.")
    text = read_text(arguments.text, arguments.file)
    check_new_file("inspect", arguments.output, arguments.overwrite or arguments.output == PAGE)
    model = load_text_model("inspect", arguments.model, arguments.dtype, option="MODEL")
    with refusals():
        page = inspection_page(model, text, title=arguments.model)
    with (
        refusals_of_the_disk("inspect", "--output must be writable", arguments.output),
        atomic_file(arguments.output) as path,
    ):
        # An argument from a shell may not be valid text.
        path.write_text(page, encoding="utf-8", errors="replace")
    print(arguments.output)
    return 0


def read_text(text: str | None, path: str | None) -> str:
    """The given text, or the text of the file; one of the two must be given, and not be empty."""
    if (text is None) == (path is None):
        raise CommandError("inspect: give TEXT or --file FILE. Got " + ("both." if path else "neither."))
    if path is not None:
        with refusals_of_the_disk("inspect", "--file must be a file that can be read", path):
            text = Path(path).read_text(encoding="utf-8", errors="replace")
    if not text:
        raise CommandError("inspect: the text must have at least one character. Got none.")
    return text
