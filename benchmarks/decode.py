"""Time per decoded token, compared with transformers and DeepMind's code on the same machine in the same run.

    KERAS_BACKEND=jax python benchmarks/decode.py

The model is that of model.py. Ours is `generate`, greedily. PyTorch is measured after the calls that trigger its
compilation (`generation/compilers/torch_compile.py`).

A peer is measured if its package can be imported, whatever the backend, and also decodes greedily: transformers by
`generate` on PyTorch, recurrentgemma by its compiled step in a Python loop on JAX. Each has a process of its own, since
`generate` of transformers crashes in one that has loaded TensorFlow.
"""

import importlib.util
import os
import subprocess
import sys
import time

import numpy as np
from model import CONFIG, TOKENS, deepmind_model, transformers_model
from timing import BACKEND, least_seconds

from keras_griffin.models import Griffin

BATCH_SIZES = (1, 16)
FEW, MANY = 16, 272


def ours(batch_size):
    """Seconds per step of `generate`."""
    model = Griffin(CONFIG)
    prompt = prompts(batch_size)
    warm_up(model, prompt)
    few, many = (least_seconds(model.generate, prompt, steps, budget=6) for steps in (FEW, MANY))
    return (many - few) / (MANY - FEW)


def warm_up(model, prompt):
    """Reach a steady pace: PyTorch compiles after some thousand steps."""
    if BACKEND == "torch":
        from keras_griffin.generation.compilers.torch_compile import COMPILE_AFTER

        model.generate(prompt, COMPILE_AFTER + 1)


def transformers_on_torch(batch_size):
    """Seconds per step of transformers' `generate`."""
    import torch

    model = transformers_model()
    # No token ends a text, as in ours.
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = None, 0
    tokens = torch.tensor(prompts(batch_size), dtype=torch.long)

    def decode(steps):
        return model.generate(tokens, do_sample=False, max_new_tokens=steps)

    few, many = (least_seconds(decode, steps, budget=6) for steps in (FEW, MANY))
    return (many - few) / (MANY - FEW)


def deepmind_on_jax(batch_size):
    """Seconds per call of DeepMind's compiled step."""
    decode = deepmind_decoder(*deepmind_model(), prompts(batch_size))
    few, many = (least_seconds(lambda n: decode(n).block_until_ready(), steps, budget=6) for steps in (FEW, MANY))
    return (many - few) / (MANY - FEW)


def deepmind_decoder(model, parameters, tokens):
    """A function that decodes a number of steps greedily, after the tokens, with DeepMind's compiled step."""
    import jax
    import jax.numpy as jnp

    tokens = jnp.asarray(tokens)
    batch_size = tokens.shape[0]
    positions = jnp.tile(jnp.arange(tokens.shape[1]), (batch_size, 1))
    logits, cache = model.apply(parameters, tokens, positions, return_cache=True)

    @jax.jit
    def step(parameters, token, position, cache):
        logits, cache = model.apply(parameters, token, position, cache, return_cache=True)
        return jnp.argmax(logits[:, -1:], axis=-1), cache

    def decode(steps):
        token, own = jnp.argmax(logits[:, -1:], axis=-1), cache
        for offset in range(steps):
            position = jnp.full((batch_size, 1), tokens.shape[1] + offset)
            token, own = step(parameters, token, position, own)
        return token

    return decode


def prompts(batch_size):
    """`(batch_size, 8)` ids."""
    return np.tile(TOKENS[:1, :8], (batch_size, 1))


PEERS = {"transformers": ("torch", transformers_on_torch), "recurrentgemma": ("jax", deepmind_on_jax)}


def in_own_process(package):
    """Seconds per step of a peer, batch 1."""
    backend, _ = PEERS[package]
    command = [sys.executable, __file__, package]
    return float(subprocess.check_output(command, env={**os.environ, "KERAS_BACKEND": backend}, text=True).split()[-1])


def main():
    """Print the table of the active backend."""
    print(f"\n### Decoding on {BACKEND}\n\n| what | batch | ms a step | tokens a second |\n|---|---|---|---|")
    times = {}
    for batch_size in BATCH_SIZES:
        start = time.perf_counter()
        times[batch_size] = ours(batch_size)
        print_row("ours", batch_size, times[batch_size])
        if batch_size == 1:
            print(
                f"| compilation and warming up included | 1 | {time.perf_counter() - start:.1f} s in all | |",
                flush=True,
            )
    print_growth("tokens a second", times)
    for package in PEERS:
        if importlib.util.find_spec(package) is None:
            print(f"| {package} | 1 | not installed: not measured | |")
            continue
        seconds = in_own_process(package)
        print_row(package, 1, seconds)
        print(f"| {package} / ours | 1 | {seconds / times[1]:.2f} | |", flush=True)


def print_growth(what, times):
    """Print the ratio of throughput between the largest batch and the smallest."""
    few, many = BATCH_SIZES
    print(f"| {what}, batch {many} / batch {few} | | {many * times[few] / (few * times[many]):.1f} | |", flush=True)


def print_row(what, batch_size, seconds):
    """Print one line of the table."""
    print(f"| {what} | {batch_size} | {1e3 * seconds:.3f} | {batch_size / seconds:,.0f} |", flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(PEERS[sys.argv[1]][1](1))
    else:
        main()
