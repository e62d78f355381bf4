"""The command `explain`; its description and options are in `options/explain.py`."""

import argparse
from collections.abc import Sequence

from keras_griffin.commands.errors import refusals
from keras_griffin.ops.implementation import Explanation, Op, current_facts, find_op


def run(arguments: argparse.Namespace) -> int:
    """Print one line about all ops, or the table of each."""
    with refusals():
        ops = [find_op(name) for name in arguments.ops or sorted(Op.registry)]
        device = current_facts(None, arguments.dtype).device
        tables = [op.explain(op.cases.timed(device)[0].shape, arguments.dtype) for op in ops]
    if not arguments.ops:
        print(in_a_line(tables), end="\n\n" if arguments.all else "\n")
    if arguments.ops or arguments.all:
        print("\n\n".join(map(str, tables)))
        print(
            "\n* marks the one in use. To select another, set KERAS_GRIFFIN_<OP>=<name>, such as\n"
            "KERAS_GRIFFIN_LINEAR_SCAN=portable."
        )
    else:
        print("--all shows the table of each op.")
    with refusals():
        for table in tables:
            table.chosen  # noqa: B018  It raises if the selected implementation can't be used.
    return 0


def in_a_line(tables: Sequence[Explanation]) -> str:
    """For how many ops the backend has an implementation of its own in use, and what is to be installed."""
    facts = tables[0].facts
    chosen = {table.op_name: verdict.name for table in tables for verdict in table.verdicts if verdict.chosen}
    rows = [(name, row) for name in chosen for row in find_op(name).implementations if row.name == chosen[name]]
    plain = [name for name, row in rows if row.backend is None]
    missing = sorted({v.reason for table in tables for v in table.verdicts if "not installed" in v.reason})
    others = f" ({', '.join(plain)}: portable)" if plain else ""
    return (
        f"{facts.backend} on {facts.device}, {facts.dtype}: {len(rows) - len(plain)} of {len(rows)} ops have a kernel "
        f"for it{others}; {', '.join(missing) or 'nothing to install'}."
    )
