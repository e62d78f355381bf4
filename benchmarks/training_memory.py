"""Memory of a training step, from 1,024 to 65,536 tokens, with and without logits and rematerialisation.

    KERAS_BACKEND=jax python benchmarks/training_memory.py

Loss and gradients of all weights, for one row: a Griffin of width 256, six layers, window 512, and a vocabulary of
16,384. On JAX the memory is reported by the compiled step, including results, without running it; the last column is
measured while the leanest step runs. On PyTorch everything is measured, the two others only up to 16,384 tokens, to
limit time and memory. TensorFlow is not measured. The second table is the step's time at 4,096 tokens.

On a CPU, XLA schedules operations for parallelism rather than memory unless the flag below is set: without it, blocks
are rematerialised but little memory is saved, as the last table shows. On GPUs and TPUs it schedules for memory.
"""

import os

if os.environ.get("KERAS_BACKEND") == "jax":
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_scheduler_type=CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED")

import keras
import numpy as np
from timing import (
    BACKEND,
    compiled,
    forward_and_backward,
    least_seconds,
    peak_bytes,
    peak_bytes_of_the_process,
    wait,
)

from keras_griffin.models import Griffin, GriffinConfig

CONFIG = GriffinConfig(vocabulary_size=16_384, width=256, num_layers=6, num_heads=2, window=512)
CONTEXTS = (1024, 2048, 4096, 8192, 16_384, 32_768, 65_536)
#: The context for timing, and the longest for which PyTorch's memory is measured, except for the leanest step.
TIMED, LONGEST_RUN = 4096, 16_384
#: Whether there are logits, and whether blocks are rematerialised.
WAYS = {"logits": (True, False), "no logits": (False, False), "no logits, blocks made again": (False, True)}
LEANEST = (False, True)


def main():
    """Print the tables of the active backend."""
    columns = [*WAYS, *(["that, when it ran"] if BACKEND == "jax" else [])]
    print(f"\n### Memory of a training step on {BACKEND}, MB\n")
    print(f"| T | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for context in CONTEXTS:
        cells = [megabytes(context, *way) for way in WAYS.values()]
        if BACKEND == "jax":
            cells.append(megabytes_when_it_ran(context))
        print(f"| {context:,} | {' | '.join(cells)} |", flush=True)
    print(f"\n### Seconds of a training step of {TIMED:,} tokens on {BACKEND}\n")
    print(f"| {' | '.join(WAYS)} |\n|{'---|' * len(WAYS)}")
    steps = (training_step(TIMED, *way) for way in WAYS.values())
    print(f"| {' | '.join(f'{least_seconds(step, *arguments, budget=10):.2f}' for step, arguments in steps)} |")
    if BACKEND == "jax":
        print(f"\n### Memory of a training step of {TIMED:,} tokens on jax without the flag, MB\n")
        print(f"| {' | '.join(WAYS)} |\n|{'---|' * len(WAYS)}")
        print(f"| {' | '.join(megabytes_without_the_flag(*way) for way in WAYS.values())} |")


def megabytes(context, logits, rematerialize):
    """The memory of a step without weights and tokens, as text."""
    if BACKEND != "jax" and context > LONGEST_RUN and (logits, rematerialize) != LEANEST:
        return "not measured"
    step, arguments = training_step(context, logits, rematerialize)
    return in_megabytes(peak_bytes(step, *arguments))


def megabytes_when_it_ran(context):
    """The measured memory of the leanest step."""
    step, arguments = training_step(context, *LEANEST)
    # Compiled first, since compiling takes memory too.
    step = step.lower(*arguments).compile()
    return in_megabytes(peak_bytes_of_the_process(lambda: wait(step(*arguments))))


def megabytes_without_the_flag(logits, rematerialize):
    """The memory of a step of `TIMED` tokens with XLA's default scheduler."""
    step, arguments = training_step(TIMED, logits, rematerialize)
    left_to_itself = {"xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_DEFAULT"}
    memory = step.lower(*arguments).compile(compiler_options=left_to_itself).memory_analysis()
    return in_megabytes(memory.temp_size_in_bytes + memory.output_size_in_bytes)


def in_megabytes(num_bytes):
    """A number of bytes as text."""
    return "not measured" if num_bytes is None else f"{num_bytes / 1e6:,.0f}"


def training_step(context, logits, rematerialize):
    """A function that returns the loss and its gradient for each weight, and its arguments."""
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
