"""Few rows by a matrix in bfloat16, for JAX on a CPU.

XLA's CPU library reads bfloat16 if the sum is requested in float32 and there are at least two rows. Otherwise XLA makes
a float32 copy of the matrix, which makes a decoding step ten times as slow, or needs three times the memory.
"""

import jax.numpy as jnp

#: With more rows it is faster to make the copy, measured with a gradient at 512.
MOST_ROWS = 64


def supports(facts):
    """It needs bfloat16 and few rows."""
    if facts.dtype != "bfloat16":
        return "serves only bfloat16"
    if facts.shape is not None and (facts.shape[0] is None or facts.shape[0] > MOST_ROWS):
        return f"serves at most {MOST_ROWS} rows"
    return None


def row_product(rows, matrix, bias):
    """The contract is `keras_griffin.ops.row_product`."""
    count = rows.shape[0]
    if count == 1:
        rows = jnp.concatenate([rows, rows])
    outputs = jnp.dot(rows, matrix, preferred_element_type=jnp.float32)[:count]
    return (outputs if bias is None else outputs + bias).astype(rows.dtype)
