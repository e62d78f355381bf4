"""Time of a retention layer, beside yet-another-retnet on the same machine in the same run.

    KERAS_BACKEND=torch python benchmarks/retention.py

A layer of width 512 with 4 heads, 2 rows, float32: forward and backward for inputs and weights, then one token from a
state, as `generate` runs it: compiled, or recorded on PyTorch. Ours runs in chunks; theirs is its parallel form, for
one token its recurrent one, with values of twice the width as in the paper and as ours. Only on PyTorch, and if it can
be imported.
"""

import functools
import importlib.util

import keras
import numpy as np
from timing import BACKEND, compiled, forward_and_backward, kernel_seconds

from keras_griffin.generation.compilers.compile import prepared
from keras_griffin.mixers import Retention

ROWS, WIDTH, NUM_HEADS = 2, 512, 4
LENGTHS = (1024, 4096)
#: Seconds to repeat each measurement.
BUDGET = 6.0


def normal(*shape):
    """A tensor of normal numbers."""
    return keras.ops.convert_to_tensor(np.random.default_rng(0).normal(size=shape).astype("float32"))


def ours():
    """A training step's function of (inputs, *weights), the weights, a token's function, and its arguments."""
    layer = Retention(NUM_HEADS, head_norm="layer")
    layer.build((None, None, WIDTH))

    def run(inputs, *weights):
        with keras.StatelessScope(state_mapping=list(zip(layer.weights, weights, strict=True))):
            return layer(inputs)

    def advance(layer, state, inputs):
        return layer.advance(inputs, state)

    # Elsewhere it would overwrite the state that is given to every call.
    records = BACKEND == "torch"
    token = prepared(advance, layer, is_step=True) if records else compiled(functools.partial(advance, layer))
    return run, [weight.value for weight in layer.weights], token, (layer.initial_state(ROWS), normal(ROWS, 1, WIDTH))


def theirs():
    """The same of yet-another-retnet."""
    import torch
    from yet_another_retnet.retention import MultiScaleRetention

    layer = MultiScaleRetention(WIDTH, NUM_HEADS, bias=False)
    layer.v_proj, layer.g_proj = (torch.nn.Linear(WIDTH, 2 * WIDTH, bias=False) for _ in range(2))
    layer.out_proj = torch.nn.Linear(2 * WIDTH, WIDTH, bias=False)
    layer.group_norm = torch.nn.GroupNorm(NUM_HEADS, 2 * WIDTH, affine=False, eps=1e-6)
    names = [name for name, _ in layer.named_parameters()]

    def run(inputs, *weights):
        return torch.func.functional_call(layer, dict(zip(names, weights, strict=True)), 3 * (inputs,))[0]

    @torch.no_grad()
    def token(state, inputs):
        return layer.forward_recurrent(inputs, inputs, inputs, 1000, state)

    channels = WIDTH // NUM_HEADS
    state = torch.zeros(ROWS, NUM_HEADS, channels, 2 * channels)
    return run, [each.detach() for each in layer.parameters()], token, (state, normal(ROWS, WIDTH))


def main():
    """Print a row for each layer."""
    steps = " | ".join(f"step of {length} ms" for length in LENGTHS)
    print(f"\n### Retention on {BACKEND}\n\n| layer | {steps} | one token us |\n|---|{'---|' * (len(LENGTHS) + 1)}")
    layers = {"keras_griffin": ours}
    if BACKEND == "torch" and importlib.util.find_spec("yet_another_retnet"):
        layers["yet-another-retnet"] = theirs
    for name, make in layers.items():
        run, weights, token, arguments = make()
        step = compiled(forward_and_backward(run))
        times = [
            1e3 * kernel_seconds(step, inputs, inputs, *weights, budget=BUDGET).least
            for inputs in (normal(ROWS, length, WIDTH) for length in LENGTHS)
        ]
        decoding = 1e6 * kernel_seconds(token, *arguments, budget=BUDGET).least
        print(f"| {name} | {' | '.join(f'{time:.0f}' for time in times)} | {decoding:.0f} |", flush=True)


if __name__ == "__main__":
    main()
