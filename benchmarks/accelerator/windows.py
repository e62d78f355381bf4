"""Local attention, and what PyTorch and flash-attn have for it."""

import dataclasses
import importlib.util

import keras
import numpy as np
from timing import BACKEND, compiled, device, forward_and_backward, kernel_seconds

from benchmarks.accelerator.hardware import is_small, random_tensor
from keras_griffin.ops import explain, local_attention
from keras_griffin.ops.implementation import find_op

BUDGET = 0.1


def run(record):
    """A row for each call and method."""
    cases = find_op("local_attention").cases.timed(device())
    if is_small(record):
        cases = [dataclasses.replace(cases[0], batch_size=1, length=128, span=128, window=64)]
    for case in cases:
        chosen = explain("local_attention", case.shape, case.dtype).chosen
        functions = {f"ours, {chosen}": lambda *x, case=case: local_attention(*x, case.window)}
        if BACKEND == "torch":
            functions["PyTorch's scaled_dot_product_attention with a mask"] = dense(case)
        for name, function in functions.items():
            record.tried("local_attention", of_attention, function, case, method=name, call=str(case))
        if BACKEND == "torch" and device() == "gpu" and case.dtype == "bfloat16":
            name = "flash-attn with a window"
            if importlib.util.find_spec("flash_attn") is None:
                record.row("local_attention", method=name, call=str(case), remark="not installed: not measured")
            else:
                record.tried("local_attention", of_flash, case, method=name, call=str(case))


def dense(case):
    """Attention over the full matrix."""
    import torch

    steps = keras.ops.arange(case.length)
    seen = (steps <= steps[:, None]) & (steps > steps[:, None] - case.window)

    def attend(*tensors):
        query, key, value = (x.transpose(1, 2) for x in tensors)
        # Its fast kernels want a key head for each query head; a view is enough.
        key, value = (x.expand(-1, case.num_heads, -1, -1) for x in (key, value))
        return torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=seen).transpose(1, 2)

    return attend


def of_flash(case):
    """The cells of flash-attn's kernel."""
    from flash_attn import flash_attn_func

    options = {"causal": True, "window_size": (case.window - 1, 0)}
    return of_attention(lambda *x: flash_attn_func(*x, **options), case)


def of_attention(function, case):
    """Milliseconds forward, and forward with the gradient."""
    keys = case.batch_size, case.span, case.num_key_heads, case.channels
    tensors = [random_tensor(shape, case.dtype) for shape in (case.shape, keys, keys)]
    gradient = random_tensor(case.shape, case.dtype)
    forward = kernel_seconds(compiled(function), *tensors, budget=BUDGET)
    both = kernel_seconds(compiled(forward_and_backward(function)), gradient, *tensors, budget=BUDGET)
    # Keys that a query sees, over all queries; a product of queries and keys, and one of weights and values.
    seen = np.minimum(np.arange(case.length) + 1 + case.span - case.length, case.window).sum()
    operations = 4 * case.batch_size * case.num_heads * case.channels * int(seen)
    return {
        "forward, least ms": 1e3 * forward.least,
        "with gradient, least ms": 1e3 * both.least,
        "forward, TFLOP/s": operations / forward.least / 1e12,
    }
