"""Show which kernels this machine will use, and why not the others."""

import argparse

DTYPES = ("float32", "bfloat16", "float16", "float64")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("ops", nargs="*", metavar="OP", help="such as linear_scan (default: all)")
    parser.add_argument(
        "--dtype", choices=DTYPES, default="float32", help="dtype of the op's first tensor (default: %(default)s)"
    )
