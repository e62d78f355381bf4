"""Local attention in blocks against the dense masked form: forward, and how a gradient grows with the length.

KERAS_BACKEND=jax python benchmarks/attention.py
"""

import keras
import numpy as np
from timing import BACKEND, compiled, forward_and_backward, least_seconds

from keras_griffin.ops import linear_scan, local_attention


def tensors(length, heads, head_dim):
    """A query of several heads, and a key and value of one."""
    generator = np.random.default_rng(0)
    shapes = [(1, length, n, head_dim) for n in (heads, 1, 1)]
    return [keras.ops.convert_to_tensor(generator.normal(size=shape).astype("float32")) for shape in shapes]


def dense(window):
    """Attention over a full matrix with a mask."""

    def attend(query, key, value):
        steps = np.arange(query.shape[1])
        seen = (steps <= steps[:, None]) & (steps > steps[:, None] - window)
        key, value = (keras.ops.repeat(x, query.shape[2], axis=2) for x in (key, value))
        return keras.ops.dot_product_attention(query, key, value, mask=keras.ops.convert_to_tensor(seen[None, None]))

    return attend


def main():
    """Print the tables of the active backend."""
    print(f"\n### Local attention on {BACKEND}\n")
    query, key, value = tensors(4096, 10, 256)
    blocked = least_seconds(compiled(lambda q, k, v: local_attention(q, k, v, 1024)), query, key, value)
    full = least_seconds(compiled(dense(1024)), query, key, value)
    print("| T 4096, window 1024, 10 heads of 256 | forward ms |\n|---|---|")
    print(f"| in blocks | {1e3 * blocked:.0f} |\n| dense with a mask | {1e3 * full:.0f} |\n", flush=True)
    print("| T | local attention, window 128, forward + backward, us a step | linear_scan, width 256, us a step |")
    print("|---|---|---|")
    for length in (1024, 4096, 16384):
        query, key, value = tensors(length, 2, 64)
        attention = forward_and_backward(lambda q, k, v=value: local_attention(q, k, v, 128))
        decay, inputs = (keras.ops.ones((1, length, 256)) * x for x in (0.9, 1.0))
        scan = forward_and_backward(lambda a, x: linear_scan(a, x)[0])
        times = [
            least_seconds(compiled(attention), query, query, key),
            least_seconds(compiled(scan), inputs, decay, inputs),
        ]
        print(f"| {length} | {' | '.join(f'{1e6 * seconds / length:.2f}' for seconds in times)} |", flush=True)


if __name__ == "__main__":
    main()
