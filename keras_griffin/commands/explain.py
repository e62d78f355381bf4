"""The command `explain`; its description and options are in `options/explain.py`."""

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
    print(
        "\n* marks the one in use. To select another, set KERAS_GRIFFIN_<OP>=<name>, such as\n"
        "KERAS_GRIFFIN_LINEAR_SCAN=portable."
    )
    with refusals():
        for table in tables:
            table.chosen  # noqa: B018  It raises if the selected implementation can't be used.
    return 0
