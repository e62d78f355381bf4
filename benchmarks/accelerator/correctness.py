"""Every implementation that serves here, on the cases of its op: values and gradients against float64.

The first case of every implementation comes first, then the second: a run that is cut short has judged each of them.
Products of float32 matrices keep float32's precision here, whatever the backend's default on the device.
"""

import contextlib
import itertools

from timing import BACKEND, has_events

from benchmarks.accelerator import streams
from benchmarks.accelerator.hardware import full_precision
from keras_griffin import backends
from keras_griffin.ops.implementation import Op, current_facts
from keras_griffin.testing.op_checks import check_gradients, check_values

#: How many cases of each op `--quick` judges: the last, which has the most features, and others where none is compiled.
FEW = 3 if BACKEND == "torch" else 1


def run(record):
    """Check them, and what only a CUDA device shows."""
    if has_events():
        import torch._dynamo

        # FlexAttention is compiled for more kinds of calls than a program makes.
        torch._dynamo.config.recompile_limit = 100
    with full_precision():
        for op, row, case in calls(FEW if record.quick else None):
            subject = f"{op.name}: {row.name}"
            with double_precision(case):
                record.check(subject, f"{case}, values", check_values, op.name, row.name, case)
                if BACKEND in backends.WITH_GRADIENTS and not row.needs_values:
                    record.check(subject, f"{case}, gradients", check_gradients, op.name, row.name, case)
        streams.check_repeated(record)
        if not has_events():
            record.note("CUDA graphs, a second stream and more than 2^31 elements need PyTorch on a GPU: not checked.")
            return
        streams.check_on_cuda(record)


def calls(most: int | None):
    """Yield (op, row, case), at most so many cases of each op, the first cases of all ops first."""
    by_op = {op: spread(op.cases.CASES, most) for op in Op.registry.values()}
    for cases in itertools.zip_longest(*by_op.values()):
        for op, case in zip(by_op, cases, strict=True):
            for row in op.implementations if case is not None else ():
                if op.rejection(row, current_facts(case.shape, case.dtype)) is None:
                    yield op, row, case


def spread(cases, most):
    """At most so many of the cases, evenly from the last on; all of them, in order, for None."""
    return cases if most is None else cases[:: -max(1, len(cases) // most)][:most]


def double_precision(case):
    """JAX has float64 only inside such a block."""
    if BACKEND != "jax" or case.dtype != "float64":
        return contextlib.nullcontext()
    import jax

    return jax.enable_x64(True)
