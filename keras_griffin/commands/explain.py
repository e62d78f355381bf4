"""Say which kernels this machine will use, and why not the others."""

import argparse

from keras_griffin.commands.errors import refusals
from keras_griffin.ops.implementation import Op, current_facts, find_op

DTYPES = ("float32", "bfloat16", "float16", "float64")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("ops", nargs="*", metavar="OP", help="such as linear_scan; all of them when none is named")
    parser.add_argument(
        "--dtype", choices=DTYPES, default="float32", help="of the op's first tensor (default: %(default)s)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the table of each op."""
    with refusals():
        ops = [find_op(name) for name in arguments.ops or sorted(Op.registry)]
        device = current_facts(None, arguments.dtype).device
        tables = [op.explain(op.cases.timed(device)[0].shape, arguments.dtype) for op in ops]
    print("\n\n".join(str(table) for table in tables))
    print("\n* is used. To ask for another: KERAS_GRIFFIN_<OP>=<name>, such as KERAS_GRIFFIN_LINEAR_SCAN=portable.")
    with refusals():
        for table in tables:
            table.chosen  # noqa: B018  It raises where what was asked for can't serve.
    return 0
