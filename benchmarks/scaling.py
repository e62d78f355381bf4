"""How cost grows with the context: training steps as in the paper's Figure 3, and decoding compared with Equation 5.

    KERAS_BACKEND=jax python benchmarks/scaling.py

Training: loss and gradients of all weights, without an optimizer, which costs the same at every context. A batch has
the same 16,384 tokens at every context, so that only its division into rows changes. Griffin, Hawk and the MQA baseline
have width 128, three layers, one head of 128 channels, as the paper's have, and a vocabulary of 256. Griffin's window
is 256: half the shortest context, as in the paper.

Decoding: seconds per step of `generate` after a prompt, and the prediction of `keras_griffin.inspection.decode_cost`
from sizes and the memory bandwidth, measured in the same run. Width 512, six layers, four heads of 128 channels, window
256: about 80 MB of parameters, more than the processor's caches hold.
"""

import os
import warnings
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
from timing import BACKEND, compiled, forward_and_backward, least_seconds, peak_bytes, usable_cores

from keras_griffin.inspection import Device, decode_cost
from keras_griffin.models import Griffin, GriffinConfig, Hawk, MQATransformer

FAMILIES = {"MQA": MQATransformer, "Griffin": Griffin, "Hawk": Hawk}

TRAINED = GriffinConfig(vocabulary_size=256, width=128, num_layers=3, num_heads=1, window=256)
TOKENS = 16_384
TRAINED_CONTEXTS = (512, 1024, 2048, 4096, 8192, 16_384)

DECODED = GriffinConfig(vocabulary_size=256, width=512, num_layers=6, num_heads=4, window=256)
DECODED_CONTEXTS = (128, 512, 2048, 4096)
BATCH_SIZES = (1, 16)
FEW, MANY = 4, 20


def main():
    """Print the tables of the active backend."""
    device = measure_device()
    print(f"\n### This machine on {BACKEND}\n")
    print("| this machine | |\n|---|---|")
    print(f"| memory, GB | {device.memory_bytes / 1e9:.1f} |")
    print(f"| memory read, GB a second | {device.bytes_per_second / 1e9:.1f} |")
    print(f"| products of matrices in float32, GFLOP a second | {device.operations_per_second / 1e9:.0f} |")
    print(f"| rows up to which a step is bound by memory | {device.memory_bound_batch(4)} |", flush=True)
    train()
    decode(device)


def measure_device() -> Device:
    """This machine: its memory, the bandwidth of all cores, and their speed for products of large float32 matrices."""
    num_bytes = 2**29
    parts = np.array_split(np.ones(num_bytes // 4, "float32"), usable_cores())
    with ThreadPoolExecutor(len(parts)) as pool:
        seconds = least_seconds(lambda: list(pool.map(lambda part: part @ part, parts)))
    square = np.ones((2048, 2048), "float32")
    operations = 2 * 2048**3 / least_seconds(lambda: square @ square)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Device("this machine", memory, num_bytes / seconds, operations)


def train():
    """Print seconds and memory of a training step of each family."""
    print(f"\n### A training step over {TOKENS:,} tokens on {BACKEND}\n")
    print(f"| model | context | rows | seconds | times MQA at {TRAINED_CONTEXTS[0]} | memory, MB |")
    print("|---|---|---|---|---|---|")
    unit = None
    # The baseline comes first, since the others are compared with it.
    for family, kind in FAMILIES.items():
        model = kind(TRAINED)
        for context in TRAINED_CONTEXTS:
            rows = TOKENS // context
            step, arguments = training_step(model, rows, context)
            seconds, num_bytes = least_seconds(step, *arguments, budget=3), peak_bytes(step, *arguments)
            unit = unit or seconds
            memory = "not measured" if num_bytes is None else f"{num_bytes / 1e6:,.0f}"
            print(f"| {family} | {context:,} | {rows} | {seconds:.3f} | {seconds / unit:.2f} | {memory} |", flush=True)


def training_step(model, rows, context):
    """A function that returns the loss and its gradient for each weight, and its arguments."""
    weights = [variable.value for variable in model.trainable_variables]
    token_ids = np.random.default_rng(0).integers(0, 256, (rows, context + 1)).astype("int32")
    inputs, targets = (keras.ops.convert_to_tensor(part) for part in (token_ids[:, :-1], token_ids[:, 1:]))

    def loss(*weights):
        with keras.StatelessScope(zip(model.trainable_variables, weights, strict=True)):
            return model.loss(targets, model(inputs, training=True))

    return compiled(forward_and_backward(loss)), (keras.ops.ones(()), *weights)


def decode(device):
    """Print measured and predicted milliseconds of a decoding step of each family."""
    print(f"\n### A decoding step in float32 on {BACKEND}\n")
    print("| model | batch | context | measured, ms | predicted, ms | measured / predicted | bound by |")
    print("|---|---|---|---|---|---|---|")
    for family, kind in FAMILIES.items():
        model = kind(DECODED)
        for batch_size in BATCH_SIZES:
            for context in DECODED_CONTEXTS:
                with warnings.catch_warnings():
                    # On few cores, 16 rows are not memory-bound, as the first table shows.
                    warnings.filterwarnings("ignore", message="decode_cost: batch_size should be at most")
                    cost = decode_cost(model.config, batch_size, context, device=device, dtype="float32")
                measured, predicted = decoding_seconds(model, batch_size, context), cost.seconds_per_step
                print(
                    f"| {family} | {batch_size} | {context:,} | {1e3 * measured:.2f} | {1e3 * predicted:.2f} "
                    f"| {measured / predicted:.2f} | {cost.bound_by} |",
                    flush=True,
                )


def decoding_seconds(model, batch_size, context):
    """Seconds per step after `context` tokens."""
    state = model.prefill(np.random.default_rng(0).integers(0, 256, (batch_size, context)))
    nothing = np.zeros((batch_size, 0), "int32")
    # MANY comes first: PyTorch records a step after some calls.
    many, few = (
        least_seconds(lambda steps: model.generate(nothing, steps, state=state), steps, budget=1.5)
        for steps in (MANY, FEW)
    )
    return (many - few) / (MANY - FEW)


if __name__ == "__main__":
    main()
