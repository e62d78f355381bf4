"""Show which kernels this machine will use, and why not the others.

One line says for how many ops the backend has a kernel on this device, and what is to be installed.
With --all, or for ops that are named, a table shows every implementation of each, and why it is
used or not.
"""

import argparse

DTYPES = ("float32", "bfloat16", "float16", "float64")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("ops", nargs="*", metavar="OP", help="such as linear_scan (default: all)")
    parser.add_argument("--all", action="store_true", help="show the table of each op too")
    parser.add_argument(
        "--dtype", choices=DTYPES, default="float32", help="dtype of the op's first tensor (default: %(default)s)"
    )
