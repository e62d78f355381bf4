"""What a training step keeps in memory, from 1,024 tokens to 65,536, with and without logits and blocks' insides.

    KERAS_BACKEND=jax python benchmarks/training_memory.py

Loss and gradients of all weights, for one row: a Griffin of width 256, six layers, window 512, and a vocabulary of
16,384. On JAX it is what the compiled step says of itself, results included, and nothing runs; on PyTorch it is
measured, up to 16,384 tokens, for time. TensorFlow doesn't tell. The second table is the step's time at 4,096 tokens.

On a CPU, XLA orders operations for the cores' sake and not for memory's, unless it is told to: without the flag below,
blocks are made again and nothing is saved. On GPUs and TPUs it orders for memory.
"""

import os

if os.environ.get("KERAS_BACKEND") == "jax":
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_scheduler_type=CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED")

import keras
import numpy as np
from timing import BACKEND, compiled, forward_and_backward, least_seconds, peak_bytes

from keras_griffin.models import Griffin, GriffinConfig

CONFIG = GriffinConfig(vocabulary_size=16_384, width=256, num_layers=6, num_heads=2, window=512)
CONTEXTS = (1024, 2048, 4096, 8192, 16_384, 32_768, 65_536)
#: Where time is measured, and up to where PyTorch's memory is.
TIMED, LONGEST_RUN = 4096, 16_384
#: Whether there are logits, and whether blocks are made again.
WAYS = {"logits": (True, False), "no logits": (False, False), "no logits, blocks made again": (False, True)}


def main():
    """Print the table of the active backend."""
    print(f"\n### Memory of a training step on {BACKEND}, MB\n")
    print(f"| T | {' | '.join(WAYS)} |\n|---|{'---|' * len(WAYS)}")
    for context in CONTEXTS:
        print(f"| {context:,} | {' | '.join(megabytes(context, *way) for way in WAYS.values())} |", flush=True)
    print(f"\n### Seconds of a training step of {TIMED:,} tokens on {BACKEND}\n")
    print(f"| {' | '.join(WAYS)} |\n|{'---|' * len(WAYS)}")
    steps = (training_step(TIMED, *way) for way in WAYS.values())
    print(f"| {' | '.join(f'{least_seconds(step, *arguments, budget=10):.2f}' for step, arguments in steps)} |")


def megabytes(context, logits, rematerialize):
    """What a step needs beside weights and tokens, as text."""
    if BACKEND != "jax" and context > LONGEST_RUN:
        return "not measured"
    step, arguments = training_step(context, logits, rematerialize)
    num_bytes = peak_bytes(step, *arguments)
    return "not measured" if num_bytes is None else f"{num_bytes / 1e6:,.0f}"


def training_step(context, logits, rematerialize):
    """A function that gives the loss and its gradient for each weight, and its arguments."""
    language_model = Griffin(CONFIG, rematerialize=rematerialize)
    model = language_model.packed(logits=logits)
    variables = model.trainable_variables
    token_ids = np.random.default_rng(0).integers(0, CONFIG.vocabulary_size, (1, context + 1)).astype("int32")
    inputs, targets = (keras.ops.convert_to_tensor(part) for part in (token_ids[:, :-1], token_ids[:, 1:]))
    x = {"token_ids": inputs, "segment_ids": keras.ops.ones_like(inputs)}

    def loss(*weights):
        with keras.StatelessScope(zip(variables, weights, strict=True)):
            return model.compute_loss(x, targets, model(x, training=True))

    return compiled(forward_and_backward(loss)), (keras.ops.ones(()), *(variable.value for variable in variables))


if __name__ == "__main__":
    main()
