"""The command `inspect`; its description and options are in `options/inspect.py`."""

import argparse
import importlib.util
import os
from pathlib import Path

from keras_griffin.commands.errors import CommandError, refusals, refusals_of_the_disk
from keras_griffin.commands.load_model import load_text_model
from keras_griffin.commands.options.inspect import PAGE
from keras_griffin.files.atomic import atomic_file
from keras_griffin.inspection.page import inspection_page


def run(arguments: argparse.Namespace) -> int:
    """Write the page and print its path."""
    if importlib.util.find_spec("matplotlib") is None:
        raise CommandError("inspect: matplotlib must be installed: pip install 'keras-griffin[viz]'.")
    text = read_text(arguments.text, arguments.file)
    folder, name = os.path.split(arguments.output)
    if not name or os.path.isdir(arguments.output) or not os.path.isdir(folder or "."):
        raise CommandError(f"inspect: --output must be a file in a folder that exists. Got {arguments.output!r}.")
    if arguments.output != PAGE and os.path.exists(arguments.output) and not arguments.overwrite:
        raise CommandError(
            f"inspect: --output must be a new file; --overwrite replaces it. Got {arguments.output!r}, which exists."
        )
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
    """The given text, or the text of the file.

    Raises:
        CommandError: neither or both are given, the text is empty, or the file can't be read.
    """
    if (text is None) == (path is None):
        raise CommandError("inspect: give TEXT or --file FILE. Got " + ("both." if path else "neither."))
    if path is not None:
        with refusals_of_the_disk("inspect", "--file must be a file that can be read", path):
            text = Path(path).read_text(encoding="utf-8", errors="replace")
    if not text:
        raise CommandError("inspect: the text must have at least one character. Got none.")
    return text
