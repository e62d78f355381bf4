"""Training steps of whole models: forward, backward and AdamW, with the chunked loss, of 8,192 tokens.

The utilisation is of the arithmetic that a large product of matrices reaches in the same run. The peak of memory
includes weights, gradients and the optimizer.
"""

import importlib.util
import time

from timing import BACKEND, device, least_seconds, wait

from benchmarks.accelerator.hardware import forget_peak_memory, is_small, matrix_product_peak, peak_memory
from benchmarks.accelerator.models import (
    LARGE_BATCH,
    SMALL_BATCH,
    batch_of,
    model_of,
    operations_of_a_step,
    trainer,
    training_policy,
)

PRESETS = "griffin_100m", "griffin_400m", "griffin_1.3b"
#: Seconds for the steps of one model.
BUDGET = 2.0
#: Tokens of transformers' rows, whose recurrence is a Python loop.
SHORT = 512


def run(record):
    """Every preset eager, then transformers, then every preset compiled."""
    small = is_small(record)
    record.note(f"Weights and products: {training_policy()}.")
    if device() == "cpu":
        record.note("A small model in place of the presets; on PyTorch not compiled, which takes minutes on a CPU.")
    size, peak = SMALL_BATCH if small else LARGE_BATCH, matrix_product_peak()
    presets = (None,) if small else PRESETS
    if BACKEND == "torch":
        ours(record, presets, False, size, peak)
        beside_transformers(record, small, peak)
    # Last, because PyTorch may compile for minutes.
    if BACKEND != "torch" or device() != "cpu":
        ours(record, presets, True, size, peak)


def ours(record, presets, jit_compile, size, peak):
    """A row for each preset, or for the small model, which is None."""
    for preset in presets:
        named = {"model": preset or "small", "way": "jit_compile" if jit_compile else "eager"}
        record.tried("Training", of_steps, preset, jit_compile, size, peak, **named)


def of_steps(preset, jit_compile, size, peak):
    """The cells of a model's steps."""
    forget_peak_memory()
    language_model = model_of(preset, training_policy())
    model = trainer(language_model, jit_compile)
    batch = batch_of(language_model.config.vocabulary_size, size)
    start = time.perf_counter()
    wait(model.train_on_batch(*batch))
    first = time.perf_counter() - start
    seconds = least_seconds(model.train_on_batch, *batch, budget=BUDGET)
    return {
        "parameters": language_model.count_params(),
        "tokens": size[0] * size[1],
        "first step, s": first,
        "step, ms": 1e3 * seconds,
        "tokens/s": size[0] * size[1] / seconds,
        "utilisation": operations_of_a_step(language_model.config, size) / (seconds * peak),
        "peak memory, GB": gigabytes(peak_memory()),
    }


def gigabytes(num_bytes):
    """None stays None."""
    return None if num_bytes is None else num_bytes / 1e9


def beside_transformers(record, small, peak):
    """Ours and transformers' RecurrentGemma, forward and backward of theirs only, at the size of griffin_100m."""
    if importlib.util.find_spec("transformers") is None:
        record.row("Training", model="transformers RecurrentGemma", remark="not installed: not measured")
        return
    size = SMALL_BATCH if small else (LARGE_BATCH[0], SHORT)
    preset = None if small else PRESETS[0]
    record.tried("Training", of_steps, preset, False, size, peak, model=f"{preset or 'small'}, short rows", way="eager")
    named = {"model": "transformers RecurrentGemma, short rows", "way": "eager, without an optimizer"}
    record.tried("Training", of_transformers, preset, size, **named)


def of_transformers(preset, size):
    """The cells of their steps, in the same dtype."""
    import torch

    from benchmarks.accelerator.transformers_model import recurrent_gemma

    forget_peak_memory()
    model, config = recurrent_gemma(preset)
    inputs = torch.as_tensor(batch_of(config.vocabulary_size, size)[0]["token_ids"], device=model.device).long()

    def step():
        model.zero_grad()
        with torch.autocast(model.device.type, torch.bfloat16, enabled=device() != "cpu"):
            loss = model(inputs, labels=inputs, use_cache=False).loss
        loss.backward()

    seconds = least_seconds(step, budget=BUDGET)
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "tokens": size[0] * size[1],
        "step, ms": 1e3 * seconds,
        "tokens/s": size[0] * size[1] / seconds,
        "peak memory, GB": gigabytes(peak_memory()),
    }
