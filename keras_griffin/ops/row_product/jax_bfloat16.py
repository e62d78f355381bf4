"""Few rows by a matrix in bfloat16, for JAX on a CPU.

XLA's library for a CPU reads bfloat16 where the sum is asked for in float32 and there are two rows at least. Otherwise
XLA makes a float32 copy of the matrix: for a step of decoding a copy of all weights, ten times as slow, and three times
the memory where the copies are made once before a loop.
"""

import jax.numpy as jnp

#: Beyond it the copy costs less than its absence, measured with a gradient at 512.
MOST_ROWS = 64


def supports(facts):
    """Why it cannot serve such a call, or None: bfloat16, and few rows."""
    if facts.dtype != "bfloat16":
        return "serves bfloat16 alone"
    if facts.shape is not None and (facts.shape[0] is None or facts.shape[0] > MOST_ROWS):
        return f"serves {MOST_ROWS} rows at most"
    return None


def row_product(rows, matrix):
    """The contract is `keras_griffin.ops.row_product`."""
    count = rows.shape[0]
    if count == 1:
        rows = jnp.concatenate([rows, rows])
    return jnp.dot(rows, matrix, preferred_element_type=jnp.float32)[:count].astype(rows.dtype)
