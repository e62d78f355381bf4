"""A model of a size that people train, `griffin_100m`: a training step, its optimizer and loss apart, and decoding.

    KERAS_BACKEND=torch python benchmarks/hundred_million.py

In float32, one row of 512 tokens; decoding is greedy, from 8 tokens. The preset has 12 layers of width 768 and a
vocabulary of 256,000: most of its parameters are in the embedding. Bounds stand beside them: a step's products with the
weights, and their gradients, each alone; for a token, its products alone, one after another, and reading every weight
once, as fast as the largest product reads its own. Each peer that is installed has a process of its own, whatever the
backend: transformers' RecurrentGemma of these sizes takes the same step on PyTorch, with PyTorch's fused AdamW and
clipped gradients, and decodes with its own `generate`; DeepMind's code on JAX takes a step without an optimizer, and
decodes in a Python loop.
"""

import collections
import functools
import importlib.util
import os
import subprocess
import sys

import keras
import numpy as np
from decode import deepmind_decoder
from keras import ops
from model import deepmind_model, deepmind_step, transformers_model
from timing import BACKEND, compiled, forward_and_backward, least_seconds

from keras_griffin import backends
from keras_griffin.models import Griffin, presets
from keras_griffin.ops.row_product import row_product
from keras_griffin.training import AdamW

CONFIG = presets()["griffin_100m"]
LENGTH, PROMPT = 512, 8
TOKENS = np.random.default_rng(0).integers(0, CONFIG.vocabulary_size, (1, LENGTH + 1)).astype("int32")
FEW, MANY = 8, 40


def ours():
    """Yield (what, seconds)."""
    model = Griffin(CONFIG)
    prompt = TOKENS[:, :PROMPT]
    yield "decoding, a token", per_token(functools.partial(model.generate, prompt, sampler="greedy"))
    model.compile(AdamW(1e-4, drop_nonfinite=True), model.loss, jit_compile=BACKEND != "torch")
    inputs, targets = TOKENS[:, :-1], TOKENS[:, 1:]
    model.train_on_batch(inputs, targets)
    yield "training step", least_seconds(model.train_on_batch, inputs, targets, budget=40)
    yield from bounds(model)
    yield from optimizers(model)
    if BACKEND == "torch":
        yield from losses(model)


def bounds(model):
    """Yield (what, seconds) of what no step can do without."""
    products = collections.Counter(
        tuple(variable.shape) for variable in model.trainable_variables if variable.path.endswith("kernel")
    )
    # The logits: the embedding, transposed.
    largest = CONFIG.width, CONFIG.vocabulary_size
    products[largest] += 1
    products = {shape: count for shape, count in products.items() if len(shape) == 2 and min(shape) > 16}
    seconds = {shape: seconds_of_product(shape) for shape in products}
    yield "products of a training step alone", sum(count * seconds[shape] for shape, count in products.items())
    yield "products of a token alone", seconds_of_a_token(model)
    row, matrix = ops.ones((1, CONFIG.width)), ops.ones(largest)
    reading = least_seconds(compiled(ops.matmul), row, matrix, budget=4) / np.prod(largest)
    yield "reading every weight once", reading * model.count_params()


def seconds_of_a_token(model):
    """Seconds of one row's product with each of the model's matrices, one after another, the embedding's last."""
    matrices = [variable.value for variable in model.trainable_variables if variable.path.endswith("kernel")]
    matrices = [matrix for matrix in matrices if len(matrix.shape) == 2 and min(matrix.shape) > 16]
    (table,) = [x.value for x in model.trainable_variables if tuple(x.shape) == (CONFIG.vocabulary_size, CONFIG.width)]

    def products(matrices, table):
        outputs = [ops.zeros((1, 1))]
        for matrix in (*matrices, ops.transpose(table)):
            # Each needs the one before.
            row = ops.ones((1, matrix.shape[0])) + outputs[-1][:, :1]
            outputs.append(row_product(row, matrix))
        return outputs

    with backends.active().without_gradients():
        return least_seconds(compiled(products), matrices, table, budget=4)


def seconds_of_product(shape):
    """Seconds of a product of `LENGTH` rows with a matrix and of its two gradients."""
    rows, matrix = ops.ones((LENGTH, shape[0])), ops.ones(shape)
    gradient = ops.ones((LENGTH, shape[1]))
    return least_seconds(compiled(forward_and_backward(ops.matmul)), gradient, rows, matrix, budget=4)


def optimizers(model):
    """Yield (what, seconds) of the updates alone, compiled as in a step."""
    variables = model.trainable_variables
    gradients = [ops.full(variable.shape, 1e-3) for variable in variables]
    for name, optimizer in (("optimizer", model.optimizer), ("Keras's AdamW", keras.optimizers.AdamW(1e-4))):
        optimizer.build(variables)
        step = functools.partial(optimizer.apply, gradients, variables)
        if BACKEND == "torch":
            import torch

            step = torch.no_grad()(step)
        elif BACKEND == "tensorflow":
            step = compiled(step)
        else:
            step = _jax_step(optimizer, gradients, variables)
        yield f"{name} alone", least_seconds(step, budget=10)


def _jax_step(optimizer, gradients, variables):
    """A step of an optimizer that updates arrays in place, as Keras's trainer does on JAX."""
    import jax

    # Arguments in the order of the results: in another, an array is updated in the memory of another one, and copied.
    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def update(variables, owned, gradients):
        return optimizer.stateless_apply(owned, gradients, variables)

    # Copies: what is given away must not be the model's.
    kept = [[ops.copy(x.value) for x in given] for given in (variables, optimizer.variables)]

    def step():
        kept[:] = update(*kept, gradients)
        return kept

    return step


def losses(model):
    """Yield (what, seconds) of PyTorch's loss, and of the lookup's gradient that is added to the logits', alone."""
    import torch

    logits = torch.randn(1, LENGTH, CONFIG.vocabulary_size, requires_grad=True)
    targets = torch.tensor(TOKENS[:, 1:])

    def through(loss):
        logits.grad = None
        loss(targets, logits).mean().backward()

    yield "loss alone", least_seconds(through, model.loss, budget=10)
    keras_loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    yield "Keras's loss alone", least_seconds(through, keras_loss, budget=10)
    table = torch.zeros(CONFIG.vocabulary_size, CONFIG.width, requires_grad=True)
    table.grad = torch.zeros_like(table)
    vectors, tokens = torch.ones(1, LENGTH, CONFIG.width), torch.tensor(TOKENS[:, :-1])
    looked_up = torch.nn.functional.embedding(tokens, table)
    backward = functools.partial(looked_up.backward, vectors, retain_graph=True)
    yield "gradient of the lookup alone", least_seconds(backward, budget=10)


def transformers():
    """Yield the same for transformers."""
    import torch

    model = transformers_model(CONFIG)
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = None, 0
    prompt = torch.tensor(TOKENS[:, :PROMPT], dtype=torch.long)
    yield "decoding, a token", per_token(lambda n: model.generate(prompt, do_sample=False, max_new_tokens=n))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4, fused=True)
    tokens = torch.tensor(TOKENS[:, :-1], dtype=torch.long)

    def step():
        optimizer.zero_grad()
        model(tokens, labels=tokens, use_cache=False).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    step()
    yield "training step", least_seconds(step, budget=40)


def recurrentgemma():
    """Yield the same for DeepMind's code."""
    model, parameters = deepmind_model(CONFIG)
    decode = deepmind_decoder(model, parameters, TOKENS[:, :PROMPT])
    yield "decoding, a token", per_token(lambda n: decode(n).block_until_ready())
    yield "training step", least_seconds(deepmind_step(model, TOKENS[:, :-1]), parameters, budget=40)


#: By package: the backend that it needs, and what measures it.
PEERS = {"transformers": ("torch", transformers), "recurrentgemma": ("jax", recurrentgemma)}


def per_token(generate):
    """Seconds per token, from two calls of different lengths."""
    generate(MANY)
    few, many = (least_seconds(generate, steps, budget=8) for steps in (FEW, MANY))
    return (many - few) / (MANY - FEW)


def in_own_process(package):
    """Yield (what, seconds) of a peer: `generate` of transformers crashes in a process that has loaded TensorFlow."""
    environment = {**os.environ, "KERAS_BACKEND": PEERS[package][0]}
    command = [sys.executable, __file__, package]
    lines = subprocess.check_output(command, env=environment, text=True).splitlines()
    for what, seconds in (line.split("\t") for line in lines if "\t" in line):
        yield what, float(seconds)


def main():
    """Print the table of the active backend."""
    print(f"\n### griffin_100m on {BACKEND}\n\n| what | seconds |\n|---|---|")
    times = {}
    for what, seconds in ours():
        times[what] = seconds
        print(f"| {what} | {seconds:.3f} |", flush=True)
    for package in PEERS:
        if importlib.util.find_spec(package) is None:
            print(f"| {package} | not installed: not measured |")
            continue
        for what, seconds in in_own_process(package):
            print(f"| {package}, {what} | {seconds:.3f} |", flush=True)
            print(f"| ours / {package}, {what} | {times[what] / seconds:.2f} |", flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        for what, seconds in PEERS[sys.argv[1]][1]():
            print(f"{what}\t{seconds}", flush=True)
    else:
        main()
