"""The command `explain`; what it is for, and its options, stand in `options/explain.py`."""

import argparse

from keras_griffin.commands.errors import refusals
from keras_griffin.ops.implementation import Op, current_facts, find_op


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
