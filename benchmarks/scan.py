"""The scan relative to the floor set by its memory traffic, compared with Keras's scan and recurrent layers.

    KERAS_BACKEND=jax python benchmarks/scan.py

Forward moves three arrays (decay, inputs, states); forward and backward eight (the states' gradient, decay and states
again, and two gradients).
"""

import keras
import numpy as np
from timing import BACKEND, compiled, device_bandwidth, forward_and_backward, kernel_seconds

from keras_griffin.ops import explain, linear_scan

SHAPES = {"S1": (1, 2048, 2560), "S2": (8, 512, 768), "S3": (1, 16384, 1024), "S4": (4, 1024, 512)}


def ours(decay, inputs):
    """This package's scan."""
    return linear_scan(decay, inputs)[0]


def of_keras(decay, inputs):
    """Keras's associative scan of the same recurrence."""

    def compose(earlier, later):
        return earlier[0] * later[0], later[0] * earlier[1] + later[1]

    return keras.ops.associative_scan(compose, (decay, inputs), axis=1)[1]


def rows():
    """Yield a row for each shape and method: times in seconds, and relative to the floor."""
    generator = np.random.default_rng(0)
    for name, shape in SHAPES.items():
        decay = keras.ops.convert_to_tensor(generator.uniform(0.9, 0.999, shape).astype("float32"))
        inputs = keras.ops.convert_to_tensor(generator.normal(size=shape).astype("float32"))
        gradient = keras.ops.convert_to_tensor(generator.normal(size=shape).astype("float32"))
        array_bytes = 4 * int(np.prod(shape))
        floor = array_bytes / device_bandwidth(array_bytes)
        methods = {explain("linear_scan", shape).chosen: ours}
        # XLA does not compile it on TensorFlow; on PyTorch the longest takes seconds.
        if BACKEND != "tensorflow" and name != "S3":
            methods["keras.ops.associative_scan"] = of_keras
        for method, function in methods.items():
            forward = kernel_seconds(compiled(function), decay, inputs).least
            both = kernel_seconds(compiled(forward_and_backward(function)), gradient, decay, inputs).least
            yield name, shape, method, forward, both, forward / (3 * floor), both / (8 * floor)


def layers():
    """Yield a row for each recurrent layer on (4, 1024, 512): name, seconds forward, and forward and backward."""
    from keras_griffin.layers import RGLRU

    inputs = keras.ops.convert_to_tensor(np.random.default_rng(0).normal(size=SHAPES["S4"]).astype("float32"))
    made = {"RGLRU": RGLRU(return_sequences=True), "LSTM": keras.layers.LSTM(512, return_sequences=True)}
    made["GRU"] = keras.layers.GRU(512, return_sequences=True)
    for name, layer in made.items():
        layer(inputs[:, :2])
        forward = compiled(lambda x, layer=layer: layer(x))
        # The gradient for the inputs goes through the whole layer.
        both = compiled(forward_and_backward(lambda x, layer=layer: layer(x)))
        yield name, kernel_seconds(forward, inputs).least, kernel_seconds(both, inputs, inputs).least


def main():
    """Print the table of the active backend."""
    print(f"\n### Scan on {BACKEND}\n")
    print("| shape | method | forward ms | forward + backward ms | forward / floor | both / floor |")
    print("|---|---|---|---|---|---|")
    for name, shape, method, forward, both, over, both_over in rows():
        times = f"{1e3 * forward:.2f} | {1e3 * both:.2f} | {over:.1f} | {both_over:.1f}"
        print(f"| {name} {shape} | {method} | {times} |", flush=True)
    if BACKEND == "tensorflow":
        print("\nkeras.ops.associative_scan: XLA on TensorFlow does not compile it.")
    print("\n| layer, (4, 1024, 512) | forward ms | forward + backward for the inputs ms |\n|---|---|---|")
    for name, forward, both in layers():
        print(f"| {name} | {1e3 * forward:.1f} | {1e3 * both:.1f} |", flush=True)


if __name__ == "__main__":
    main()
