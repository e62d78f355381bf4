"""Show which kernels this machine will use, and why not the others.

One line says for how many ops the backend has a kernel on this device, and what is to be installed.
With --all, or for ops that are named, a table shows every implementation of each, and why it is
used or not.
"""

import argparse
import contextlib
import os
import sys
from collections.abc import Iterable, Iterator

from keras_griffin.commands.shared.errors import CommandError, refusals
from keras_griffin.names import did_you_mean

DTYPES = ("float32", "bfloat16", "float16", "float64")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("ops", nargs="*", metavar="OP", help="such as linear_scan (default: all)")
    parser.add_argument("--all", action="store_true", help="show the table of each op too")
    parser.add_argument(
        "--dtype", choices=DTYPES, default="float32", help="dtype of the op's first tensor (default: %(default)s)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print one line about all ops, or the table of each."""
    from keras_griffin.ops.implementation import Op, current_facts, find_op

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


def in_a_line(tables) -> str:
    """For how many ops the backend has an implementation of its own in use, and what is to be installed."""
    from keras_griffin.ops.implementation import find_op

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


def training_kernels(model, batch_size: int, length: int) -> dict[str, str]:
    """The implementation, or implementations, of each op that a training step calls, in order; found by tracing."""
    import keras
    import numpy as np

    from keras_griffin.ops.implementation import recorded_choices

    class Forward(keras.Operation):
        """The model's training outputs, as one operation whose shapes Keras infers by tracing it."""

        def call(self, token_ids):
            return model(token_ids, training=True)

    with recorded_choices() as choices:
        if keras.backend.backend() == "torch":
            # PyTorch traces by running. Keras would run it on the device "meta", which has other implementations.
            model(np.zeros((batch_size, length), "int32"), training=True)
        else:
            Forward().compute_output_spec(keras.KerasTensor((batch_size, length), "int32"))
    names: dict[str, dict[str, None]] = {}
    for choice in choices:
        names.setdefault(choice.op_name, {})[choice.implementation] = None
    return {op_name: " and ".join(found) for op_name, found in names.items()}


def requests() -> dict[str, str]:
    """The environment's selections by op, checked: the variable with its value, `KERAS_GRIFFIN_RG_LRU=portable`."""
    from keras_griffin.ops.implementation import VARIABLE_PREFIX, Op, use_implementation

    variables = {op.variable: op for op in Op.registry.values()}
    asked = {}
    for variable, value in sorted(os.environ.items()):
        if not variable.startswith(VARIABLE_PREFIX) or not value:
            continue
        if variable not in variables:
            raise CommandError(
                f"{variable}: a variable that selects an implementation must be one of "
                f"{', '.join(sorted(variables))}. Got {variable!r}{did_you_mean(variable, variables)}"
            )
        op = variables[variable]
        with refusals(), use_implementation(op.name, value):
            pass
        asked[op.name] = f"{variable}={value}"
    return asked


def unused(asked: dict[str, str], used: Iterable[str]) -> str | None:
    """A sentence on the variables whose ops are not in use; None if all are."""
    used = list(used)
    idle = [variable for op_name, variable in asked.items() if op_name not in used]
    calls = f"calls only {', '.join(used)}" if used else "calls no such op"
    return f"{', '.join(idle)}: the model {calls}" if idle else None


@contextlib.contextmanager
def requests_checked() -> Iterator[dict[str, str]]:
    """Check the environment's selections, and report on standard error those that the `with` block does not use."""
    from keras_griffin.ops.implementation import recorded_choices

    asked = requests()
    with recorded_choices() as choices:
        yield asked
    idle = unused(asked, dict.fromkeys(choice.op_name for choice in choices))
    if idle is not None:
        print(f"Not used: {idle}.", file=sys.stderr)
