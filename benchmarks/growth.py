"""Time and memory per step of each op's gradient, which must not grow with the length.

KERAS_BACKEND=jax python benchmarks/growth.py
"""

import functools
import resource

import keras
import numpy as np
from timing import BACKEND, compiled, forward_and_backward, least_seconds, peak_bytes

from keras_griffin.ops import causal_conv, linear_scan, local_attention

LENGTHS = (1024, 4096, 16384)


def gradients(length):
    """Yield (name, function, arguments): outputs and gradients of each op, with and without a mask."""
    generator = np.random.default_rng(0)

    def normal(*shape):
        return keras.ops.convert_to_tensor(generator.normal(size=shape).astype("float32"))

    query, key, value = normal(1, length, 2, 64), normal(1, length, 1, 64), normal(1, length, 1, 64)
    x, taps = normal(1, length, 256), normal(4, 256)
    decay = keras.ops.full_like(x, 0.9)
    mask = keras.ops.convert_to_tensor(generator.random((1, length)) < 0.9)
    ops = {
        "local_attention, window 128, 2 heads of 64": (
            lambda q, k, v, **marks: local_attention(q, k, v, 128, **marks),
            (query, query, key, value),
        ),
        "linear_scan, width 256": (lambda a, x, **marks: linear_scan(a, x, **marks)[0], (x, decay, x)),
        "causal_conv, width 256": (lambda x, w, **marks: causal_conv(x, w, **marks)[0], (x, x, taps)),
    }
    for name, (function, arguments) in ops.items():
        yield name, compiled(forward_and_backward(function)), arguments
        masked = functools.partial(function, mask=mask)
        yield f"{name}, masked", compiled(forward_and_backward(masked)), arguments


def main():
    """Print the table of the active backend."""
    print(f"\n### Gradients of longer and longer sequences on {BACKEND}\n")
    print("| T | forward and backward of | us a step | peak bytes a step |\n|---|---|---|---|")
    for length in LENGTHS:
        for name, function, arguments in gradients(length):
            seconds, peak = least_seconds(function, *arguments, budget=2), peak_bytes(function, *arguments)
            peak = "not measured" if peak is None else f"{peak / length:,.0f}"
            print(f"| {length} | {name} | {1e6 * seconds / length:.2f} | {peak} |", flush=True)
    # A single array of T x T numbers would take a gibibyte.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(f"\nThe process as a whole never held more than {peak:.2f} GiB.")


if __name__ == "__main__":
    main()
