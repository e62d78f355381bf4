"""The recurrence of Mamba: time and memory, compared on PyTorch with mambapy and with transformers without its kernels.

    KERAS_BACKEND=torch python benchmarks/selective_scan.py

Batch 2, 1,024 steps, 512 channels, 16 numbers of state for each; float32, with random step sizes between 0.001 and 0.1.
Memory is what a call needs for arguments, results and everything between, and its last column divides that by arguments
and results alone: inputs, outputs and the gradients of both. On JAX it is reported by the compiled program; elsewhere
it is measured. mambapy 1.2.0 and transformers 5.24.0 are compared where they are installed: the recurrent path of
transformers runs once, since its gradient takes minutes.
"""

import importlib.util
import time

import keras
import numpy as np
from timing import BACKEND, compiled, forward_and_backward, least_seconds, peak_bytes, wait

from keras_griffin.ops import explain, selective_scan, use_implementation

SHAPE, NUMBERS = (2, 1024, 512), 16


def arguments():
    """u, s, A, b, c, as tensors of the backend."""
    generator = np.random.default_rng(0)
    batch_size, length, width = SHAPE
    arrays = (
        generator.normal(size=SHAPE),
        generator.uniform(0.001, 0.1, SHAPE),
        np.tile(-np.arange(1.0, NUMBERS + 1.0), (width, 1)),
        *generator.normal(size=(2, batch_size, length, NUMBERS)),
    )
    return [keras.ops.convert_to_tensor(array.astype("float32")) for array in arrays]


def ours(name):
    """The outputs of an implementation."""

    def function(*tensors):
        with use_implementation("selective_scan", name):
            return selective_scan(*tensors)[0]

    return function


def others():
    """By name, the same outputs by other libraries, and whether a run takes minutes."""
    if BACKEND != "torch":
        return {}
    import torch

    found = {}
    if importlib.util.find_spec("mambapy"):
        from mambapy.pscan import pscan

        def parallel(u, s, rates, b, c):
            # As `MambaBlock.selective_scan` has it.
            states = pscan(torch.exp(s[..., None] * rates), (s[..., None] * b[:, :, None]) * u[..., None])
            return (states @ c[..., None]).squeeze(3)

        found["mambapy, parallel scan"] = (parallel, False)
    if importlib.util.find_spec("transformers"):
        from transformers.models.mamba.modeling_mamba import mamba_selective_scan

        def recurrent(u, s, rates, b, c):
            sequences = (x.transpose(1, 2) for x in (u, s, b, c))
            u, s, b, c = sequences
            return mamba_selective_scan(u, s, rates, b, c).transpose(1, 2)

        found["transformers, recurrent path"] = (recurrent, True)
    return found


def seconds(function, *tensors, once=False):
    """The shortest of several runs; the only one if `once`."""
    if not once:
        return least_seconds(function, *tensors)
    start = time.perf_counter()
    wait(function(*tensors))
    return time.perf_counter() - start


def bytes_of(tensors):
    """The size of tensors."""
    return sum(4 * int(np.prod(tensor.shape)) for tensor in tensors)


def main():
    """Print the table of the active backend."""
    tensors = arguments()
    gradient = tensors[1] - 0.05
    # The outputs, and the gradients of the outputs and of the arguments, are as large as these.
    least = 2 * bytes_of([*tensors, gradient])
    print(f"\n### Selective scan on {BACKEND}, {SHAPE}, N {NUMBERS}\n")
    print(
        "| method | forward ms | forward + backward ms | relative | memory MB | relative |\n|---|---|---|---|---|---|"
    )
    chosen = explain("selective_scan", SHAPE).chosen
    methods = {name: (ours(name), False) for name in dict.fromkeys([chosen, "portable"])}
    first = None
    for name, (function, once) in {**methods, **others()}.items():
        forward, both = compiled(function), compiled(forward_and_backward(function))
        took = [seconds(forward, *tensors, once=once), seconds(both, gradient, *tensors, once=once)]
        first = first or took[1]
        peak = None if once else peak_bytes(both, gradient, *tensors)
        memory = "not measured | " if peak is None else None
        if peak is not None:
            total = peak + bytes_of([*tensors, gradient])
            memory = f"{total / 1e6:.0f} | {total / least:.2f}"
        times = f"{1e3 * took[0]:.0f} | {1e3 * took[1]:.0f} | {took[1] / first:.1f}"
        print(f"| {name} | {times} | {memory} |", flush=True)


if __name__ == "__main__":
    main()
