"""Write text to a file of token ids, for training on more text than fits into memory.

FILES are text files, or folders of text files. Inside folders, the following are left out and
counted: hidden files and folders, __pycache__, binary files (with a zero byte among their first
8192), folders that hold a run of train, and links to folders. Each file is a document, or with
--lines each line, without its line break; empty documents are left out. Without --tokenizer the
tokens are the files' bytes, in any encoding.

keras_griffin.training.TokenFile reads the result. The file is replaced atomically: Ctrl-C and
SIGTERM leave nothing behind; SIGKILL leaves a hidden folder .FILE.partial-* next to it, which can
be removed once nothing is writing there.
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("files", nargs="+", metavar="FILES", help="files or folders of text")
    parser.add_argument("--output", required=True, metavar="FILE", help="the file to write, such as some.tokens")
    parser.add_argument("--overwrite", action="store_true", help="replace FILE if it exists")
    parser.add_argument(
        "--tokenizer",
        metavar="PATH",
        help="a folder with a tokenizer, such as a preset or a released model, or tokenizer.json or tokenizer.model "
        "itself (default: bytes)",
    )
    parser.add_argument("--include-binary", action="store_true", help="also read binary files inside folders")
    parser.add_argument("--lines", action="store_true", help="make each line a document, instead of each file")
    parser.add_argument("--stop", action="store_true", help="end each document with the tokenizer's first stop id")
