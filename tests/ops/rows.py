"""Which rows of an op's table the tests can run here."""

import keras

from keras_griffin.ops import explain
from keras_griffin.ops.implementation import Op, find_op

BACKEND = keras.backend.backend()


def interpreted(ops=None) -> list[str]:
    """The rows that JAX interprets in this process. Triton's interpreter, which is chosen on import, has its own."""
    rows = [row for op in ops or Op.registry.values() for row in op.implementations]
    return list(dict.fromkeys(row.name for row in rows if row.interpreted and row.backend == BACKEND == "jax"))


def runnable(op_name: str, dtype: str = "float32") -> list[str]:
    """What this machine can run, and what it can interpret."""
    names = [verdict.name for verdict in explain(op_name, dtype=dtype).verdicts if verdict.available]
    return [*names, *(interpreted([find_op(op_name)]) if dtype != "float64" else [])]
