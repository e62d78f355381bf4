"""Memory and messages of a training step with time divided over devices, read from the compiled program.

    KERAS_BACKEND=jax JAX_PLATFORMS=cpu python benchmarks/sequence_parallel.py > benchmarks/results/sequence_parallel.md

The devices are simulated: JAX divides the CPU. So memory and bytes are those of each device's program, as XLA plans
them for a CPU, and nothing is timed. The step is loss and gradients, without an optimizer, of a Griffin of width 128
with three layers, two heads, a window of 256 and a vocabulary of 256, for one row. The last table is a run.
"""

import os

DEVICES = (1, 2, 4, 8)
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={DEVICES[-1]}"

import random  # noqa: E402  JAX reads the flags above when it starts.
import re  # noqa: E402
from importlib.metadata import version  # noqa: E402

import jax  # noqa: E402
import keras  # noqa: E402
import numpy as np  # noqa: E402

from keras_griffin.distribution import sequence_parallel  # noqa: E402
from keras_griffin.models import Griffin, GriffinConfig  # noqa: E402

LENGTHS = (16_384, 131_072)
RUN_LENGTH = 4_096
ITEM_BYTES = {"f32": 4, "s32": 4, "pred": 1}


def new_model(rematerialize):
    """The measured Griffin."""
    config = GriffinConfig(vocabulary_size=256, width=128, num_layers=3, num_heads=2, window=256)
    random.seed(0)
    return Griffin(config, rematerialize=rematerialize)


def compiled(model, length):
    """Loss and gradients for a row of `length` tokens, compiled, and the arguments."""
    token_ids = np.random.default_rng(0).integers(0, 256, (1, length)).astype("int32")
    inputs = {"token_ids": token_ids, "segment_ids": np.ones_like(token_ids)}
    targets = np.roll(token_ids, -1, axis=1)

    def loss(trainable, inputs, targets):
        logits, _ = model.stateless_call(trainable, [], inputs)
        return model.loss(targets, logits)

    arguments = [variable.value for variable in model.trainable_variables], inputs, targets
    return jax.jit(jax.value_and_grad(loss)).lower(*arguments).compile(), arguments


def divided(devices, length, rematerialize):
    """The same, divided over `devices` devices."""
    mesh = keras.distribution.DeviceMesh((devices,), ("sequence",), keras.distribution.list_devices()[:devices])
    return compiled(sequence_parallel(new_model(rematerialize), mesh), length)


def temporary_bytes(program):
    """The memory of a device without weights, gradients and tokens."""
    return program.memory_analysis().temp_size_in_bytes


def messages(program):
    """By kind: the number of messages, and the bytes that a device receives."""
    found = {}
    kinds = "all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter"
    for shapes, kind in re.findall(rf"= (\S+|\(.*?\)) ({kinds})(?:-start)?\(", program.as_text()):
        size = sum(
            ITEM_BYTES[dtype] * int(np.prod([int(n) for n in sizes.split(",") if n]))
            for dtype, sizes in re.findall(r"([a-z]+\d*)\[([\d,]*)\]", shapes)
        )
        count, total = found.get(kind, (0, 0))
        found[kind] = count + 1, total + size
    return found


def main():
    """Print the tables."""
    how = __doc__.split("\n\n", 2)[2]
    print(f"# sequence_parallel, simulated devices\n\njax {version('jax')}, keras {version('keras')}. {how}")
    programs = {}
    for rematerialize in (False, True):
        what = "each block computed again for the gradient" if rematerialize else "all activations kept"
        print(f"### Temporary memory of a device, MiB, {what}\n")
        print("| tokens |", " | ".join(f"{n} devices" if n > 1 else "1 device" for n in DEVICES), "|")
        print("|---" * (1 + len(DEVICES)), "|", sep="")
        for length in LENGTHS:
            row = []
            for devices in DEVICES:
                program = programs[devices, length, rematerialize] = divided(devices, length, rematerialize)[0]
                row.append(f"{temporary_bytes(program) / 2**20:,.0f}")
            print(f"| {length:,} |", " | ".join(row), "|", flush=True)
        print()
    print("### What a step brings to each of eight devices\n\n| tokens | kind | messages | bytes |\n|---|---|---|---|")
    for length in LENGTHS:
        for kind, (count, size) in sorted(messages(programs[8, length, False]).items()):
            print(f"| {length:,} | {kind} | {count} | {size:,} |", flush=True)
    print(f"\n### A step of {RUN_LENGTH:,} tokens, run\n")
    print("| devices | loss | largest difference of a gradient |\n|---|---|---|")
    program, arguments = compiled(new_model(False).packed(), RUN_LENGTH)
    loss, gradients = jax.tree.map(np.asarray, program(*arguments))
    print(f"| 1, `model.packed()` | {loss:.6f} | |", flush=True)
    for devices in DEVICES[1:]:
        program, arguments = divided(devices, RUN_LENGTH, False)
        got_loss, got = program(*arguments)
        error = max(np.abs(x - np.asarray(y)).max() for x, y in zip(gradients, got, strict=True))
        print(f"| {devices} | {got_loss:.6f} | {error:.1e} |", flush=True)


if __name__ == "__main__":
    main()
