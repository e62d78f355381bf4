"""Turn text into a file of token ids, for training on more than fits into memory.

FILES are files of text, or folders with such files below them. Left out below folders, and counted,
are hidden files and folders and __pycache__, binary files (which have a zero byte among their first
8192), folders that hold a run of train, and links to folders. Each file is a document, or with
--lines each line, without its line break; empty ones are left out. What is
written is read by keras_griffin.training.TokenFile; it is at every moment the old file or the whole
new one. Ctrl-C and SIGTERM leave nothing else; SIGKILL leaves a hidden folder .FILE.partial-*
beside it, to be removed when no run is writing there. Without --tokenizer the tokens are the files'
bytes, in any encoding.
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("files", nargs="+", metavar="FILES", help="files or folders of text")
    parser.add_argument("--output", required=True, metavar="FILE", help="the file to write, such as some.tokens")
    parser.add_argument(
        "--tokenizer",
        metavar="PATH",
        help="a folder with a tokenizer, such as a preset or a released model, or tokenizer.json or tokenizer.model "
        "itself (default: bytes)",
    )
    parser.add_argument("--include-binary", action="store_true", help="read the binary files below folders too")
    parser.add_argument("--lines", action="store_true", help="each line is a document, not each file")
    parser.add_argument("--stop", action="store_true", help="end each document with the tokenizer's first stop id")
