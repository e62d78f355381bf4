"""Every implementation that serves here, on the cases of its op: values and gradients against float64.

The last case of every implementation comes first, then the one before: if time runs out, each has been judged on the
case with the most features. A scan's first cases have no step or a single one, for which no kernel is called.
Products of float32 matrices keep float32's precision here, whatever the backend's default on the device.
"""

import contextlib
import itertools

from timing import BACKEND

from benchmarks.accelerator.hardware import full_precision
from keras_griffin import backends
from keras_griffin.ops.implementation import Op, current_facts
from keras_griffin.testing.op_checks import check_gradients, check_values

#: How many cases of each op `--quick` judges: the last, which has the most features, and others where none is compiled.
FEW = 3 if BACKEND == "torch" else 1
#: Seconds in which a kernel is compiled and judged, with its gradient.
LONGEST = 15.0


def run(record):
    """Check as many as there is time for.

    Raises:
        TimeoutError: an implementation has not been judged at all.
    """
    all_calls = list(calls(FEW if record.quick else None))
    unjudged = {f"{op.name}: {row.name}" for op, row, _ in all_calls}
    with full_precision():
        for done, (op, row, case) in enumerate(all_calls):
            if record.time_left() < LONGEST:
                record.note(f"{done} of {len(all_calls)} cases were judged in the time; --patience 3 gives more.")
                break
            subject = f"{op.name}: {row.name}"
            with double_precision(case):
                record.check(subject, f"{case}, values", check_values, op.name, row.name, case)
                if BACKEND in backends.WITH_GRADIENTS and not row.needs_values:
                    record.check(subject, f"{case}, gradients", check_gradients, op.name, row.name, case)
            unjudged.discard(subject)
    if unjudged:
        raise TimeoutError(f"no case was judged in the time of {', '.join(sorted(unjudged))}.")


def calls(most: int | None):
    """Yield (op, row, case), at most so many cases of each op, the last cases of all ops first."""
    by_op = {op: spread(op.cases.CASES, most) for op in Op.registry.values()}
    for cases in itertools.zip_longest(*by_op.values()):
        for op, case in zip(by_op, cases, strict=True):
            for row in op.serving(current_facts(case.shape, case.dtype)) if case is not None else ():
                yield op, row, case


def spread(cases, most):
    """At most so many of the cases, evenly from the last on; all of them for None."""
    most = most or len(cases)
    return cases[:: -max(1, len(cases) // most)][:most]


def double_precision(case):
    """JAX has float64 only inside such a block."""
    if BACKEND != "jax" or case.dtype != "float64":
        return contextlib.nullcontext()
    import jax

    return jax.enable_x64(True)
