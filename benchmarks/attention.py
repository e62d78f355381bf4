"""Blockwise local attention compared with dense masked attention.

KERAS_BACKEND=jax python benchmarks/attention.py
"""

import keras
import numpy as np
from timing import BACKEND, compiled, kernel_seconds

from keras_griffin.ops import local_attention

LENGTH, WINDOW, NUM_HEADS, HEAD_DIM = 4096, 1024, 10, 256


def in_blocks(query, key, value):
    """This package's op."""
    return local_attention(query, key, value, WINDOW)


def dense(query, key, value):
    """Attention over a full matrix with a mask; the single key head is repeated, which TensorFlow requires."""
    steps = np.arange(LENGTH)
    seen = (steps <= steps[:, None]) & (steps > steps[:, None] - WINDOW)
    key, value = (keras.ops.repeat(x, NUM_HEADS, axis=2) for x in (key, value))
    return keras.ops.dot_product_attention(query, key, value, mask=keras.ops.convert_to_tensor(seen[None, None]))


def main():
    """Print the table of the active backend."""
    generator = np.random.default_rng(0)
    shapes = [(1, LENGTH, heads, HEAD_DIM) for heads in (NUM_HEADS, 1, 1)]
    arguments = [keras.ops.convert_to_tensor(generator.normal(size=shape).astype("float32")) for shape in shapes]
    print(f"\n### Local attention on {BACKEND}\n")
    print(f"| T {LENGTH}, window {WINDOW}, {NUM_HEADS} heads of {HEAD_DIM} | forward ms |\n|---|---|")
    for name, function in (("in blocks", in_blocks), ("dense with a mask", dense)):
        print(f"| {name} | {1e3 * kernel_seconds(compiled(function), *arguments).least:.0f} |", flush=True)


if __name__ == "__main__":
    main()
