"""LoRA compared with full training: trained parameters, memory and time of a step.

    KERAS_BACKEND=jax python benchmarks/lora.py [--width 256] [--layers 6] [--tokens 256] [--rows 4]
    KERAS_BACKEND=torch python benchmarks/lora.py --two-billion

The first table is for a Griffin with four heads, window 128 and a vocabulary of 16,384, in packed rows without logits.
Its memory is that of loss and gradients: on JAX as reported by the compiled program, on PyTorch measured, as on
TensorFlow with `TF_ENABLE_ONEDNN_OPTS=0`. Weights and the optimizer's slots are calculated. The time is that of
`train_on_batch`, including the optimizer.
"Keras's LoRA" has the same adapters, but computes the full kernel `W + A B` for each product, like
`keras.layers.Dense`.

The second table is calculated, without allocating anything: the 2B shape in bfloat16, without activations. With
`--two-billion` its LoRA row is measured instead, in 7 GB on PyTorch and 19 on JAX: random weights, one row of 256
tokens, blocks rematerialised, the peak of the process after two steps.
"""

import argparse
import math
import resource
from unittest import mock

import keras
import numpy as np
from timing import BACKEND, compiled, forward_and_backward, least_seconds, peak_bytes

from keras_griffin.layers import projection
from keras_griffin.models import Griffin, GriffinConfig, presets
from keras_griffin.models.weight_shapes import weight_shapes

RANK = 16
TWO_BILLION = "recurrentgemma_2b"
#: How each method changes a model.
WAYS = {
    "full training": lambda model: None,
    "LoRA": lambda model: model.enable_lora(RANK),
    "Keras's LoRA": lambda model: model.enable_lora(RANK),
    "LoRA beside int8": lambda model: (model.quantize("int8"), model.enable_lora(RANK)),
    "LoRA beside int4": lambda model: (model.quantize("int4"), model.enable_lora(RANK)),
}


def main():
    """Print the tables of the active backend."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"width": 256, "layers": 6, "tokens": 256, "rows": 4}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--seconds", type=float, default=10.0, help="to time each method")
    parser.add_argument("--two-billion", action="store_true")
    arguments = parser.parse_args()
    if arguments.two_billion:
        print(measure_two_billion())
        return
    print(f"\n### LoRA of rank {RANK} on {BACKEND}: {describe(arguments)}\n")
    print("| | trained | weights, MB | optimizer, MB | a step, MB | a step, s |\n|---|---|---|---|---|---|")
    for way in WAYS:
        print(f"| {way} | {' | '.join(row(way, arguments))} |", flush=True)
    print(f"\n### {TWO_BILLION} in bfloat16, counted, GB\n")
    print("| | trained | weights | gradients | optimizer | together |\n|---|---|---|---|---|---|")
    for way, (trained, *sizes) in counted().items():
        print(f"| {way} | {trained:,} | {' | '.join(f'{size / 1e9:.2f}' for size in [*sizes, sum(sizes)])} |")


def describe(arguments):
    """The small model, in words."""
    size = f"width {arguments.width}, {arguments.layers} layers"
    return f"{size}, {arguments.rows} rows of {arguments.tokens} tokens, float32"


def row(way, arguments):
    """The cells of one method."""
    model = Griffin(
        GriffinConfig(
            vocabulary_size=16_384, width=arguments.width, num_layers=arguments.layers, num_heads=4, window=128
        )
    )
    WAYS[way](model)
    packed = model.packed(logits=False)
    token_ids = np.random.default_rng(0).integers(0, 16_384, (arguments.rows, arguments.tokens + 1)).astype("int32")
    rows, targets = {"token_ids": token_ids[:, :-1], "segment_ids": np.ones_like(token_ids[:, :-1])}, token_ids[:, 1:]
    with as_keras_would(way == "Keras's LoRA"):
        memory = step_bytes(packed, rows, targets)
        seconds = least_seconds(lambda: packed.train_on_batch(rows, targets), budget=arguments.seconds)
    trained = sum(math.prod(variable.shape) for variable in packed.trainable_variables)
    return (
        f"{trained:,}",
        f"{sum(map(num_bytes, model.weights)) / 1e6:,.1f}",
        f"{sum(map(num_bytes, packed.optimizer.variables)) / 1e6:,.1f}",
        "not told" if memory is None else f"{memory / 1e6:,.0f}",
        f"{seconds:.3f}",
    )


def as_keras_would(is_wanted):
    """Inside the `with` block, projections with adapters are computed by Keras's layers."""
    return mock.patch(f"{projection.__module__}._is_ours", lambda layer: False) if is_wanted else mock.MagicMock()


def step_bytes(model, rows, targets):
    """The memory of loss and gradients, without weights and tokens."""
    variables = model.trainable_variables
    inputs = {name: keras.ops.convert_to_tensor(part) for name, part in rows.items()}
    targets = keras.ops.convert_to_tensor(targets)

    def loss(*weights):
        with keras.StatelessScope(zip(variables, weights, strict=True)):
            return model.compute_loss(inputs, targets, model(inputs, training=True))

    step = compiled(forward_and_backward(loss))
    return peak_bytes(step, keras.ops.ones(()), *(variable.value for variable in variables))


def num_bytes(variable):
    """The bytes of a variable's value."""
    return math.prod(variable.shape) * np.dtype(variable.dtype).itemsize


def counted():
    """Trained parameters and the bytes of weights, gradients and AdamW's slots of the 2B shape, by method."""
    shapes = weight_shapes(presets()[TWO_BILLION])
    parameters = sum(map(math.prod, shapes.values()))
    # Those of `projection`, without the convolution's taps and the gates' blocks.
    others = ("conv/kernel", "blocks/kernel")
    kernels = [shape for path, shape in shapes.items() if path.endswith("/kernel") and not path.endswith(others)]
    adapters = RANK * sum(map(sum, kernels))
    gates = sum(math.prod(shape) for path, shape in shapes.items() if path.endswith("blocks/kernel"))
    quantized = gates + sum(map(math.prod, kernels))
    # One scale per column, which Keras stores in the variables' dtype: two bytes here.
    scales = 2 * sum(shape[1] for shape in kernels)
    # Adapters are float32, and so are their gradients and slots.
    beside = (adapters, 4 * adapters, 4 * adapters, 8 * adapters)
    return {
        "full training": (parameters, 2 * parameters, 2 * parameters, 4 * parameters),
        "LoRA": (beside[0], 2 * parameters + beside[1], *beside[2:]),
        "LoRA beside int8": (beside[0], 2 * parameters - quantized + scales + beside[1], *beside[2:]),
    }


def measure_two_billion():
    """The peak memory of a process that creates the 2B shape, adds adapters, and takes two steps."""
    model = Griffin.from_preset(TWO_BILLION, dtype="bfloat16")
    model.rematerialize = True
    made = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    model.enable_lora(RANK)
    packed = model.packed(logits=False)
    token_ids = np.random.default_rng(0).integers(0, model.config.vocabulary_size, (1, 257)).astype("int32")
    rows = {"token_ids": token_ids[:, :-1], "segment_ids": np.ones((1, 256), "int32")}
    seconds = least_seconds(lambda: packed.train_on_batch(rows, token_ids[:, 1:]), budget=0.0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return (
        f"{TWO_BILLION} in bfloat16 with LoRA of rank {RANK} on {BACKEND}, measured: peak of {made:.1f} GiB when it "
        f"was made, {peak:.1f} GiB after training, {seconds:.1f} s a step of 256 tokens"
    )


if __name__ == "__main__":
    main()
