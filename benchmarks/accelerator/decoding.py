"""Milliseconds per token of greedy decoding, for several batches.

The floor is the time in which a copy of 1 GiB moves as many bytes as the weights have: a step reads each once. The
state, which large batches read and write too, is left out; and reading alone may be some percent faster than a copy.
The first call is apart: it compiles or, on PyTorch, runs through Keras.
"""

import importlib.util
import time
import warnings

import numpy as np
from timing import BACKEND, device, device_bandwidth, has_events, least_seconds

from benchmarks.accelerator.hardware import is_small
from benchmarks.accelerator.models import model_of, num_bytes
from keras_griffin.generation.compilers.compile import forget

PRESET = "recurrentgemma_2b"
BATCH_SIZES = 1, 8, 64
#: Tokens of a prompt, of the call that PyTorch needs to record a step, and of the two calls whose difference counts.
PROMPT, WARM_UP, FEW, MANY = 8, 40, 4, 36
#: Seconds for each of the two.
BUDGET = 1.0


def run(record):
    """Ours for each batch, compiled on PyTorch's request, and transformers."""
    small = is_small(record)
    dtype = "float32" if device() == "cpu" else "bfloat16"
    model = model_of(None if small else PRESET, dtype)
    record.note(f"Model: {'a small one' if small else PRESET}, random weights, {dtype}.")
    weights = num_bytes(model.variables)
    floor = weights / device_bandwidth(weights)
    recorded = "recorded" if BACKEND == "torch" else "compiled"
    for batch_size in BATCH_SIZES[:2] if record.quick else BATCH_SIZES:
        record.tried("Decoding", of_ours, model, batch_size, floor, batch=batch_size, way=f"ours, {recorded}")
    if BACKEND != "torch":
        return
    if device() == "cpu":
        record.note("PyTorch's compiled step is not measured on a CPU, where compiling takes half a minute.")
    else:
        launched, compiled = {"captured": lambda run, inputs: run}, {"COMPILE_AFTER": 0}
        if has_events():
            record.tried("Decoding", of_another, model, floor, launched, batch=1, way="ours, recorded, no CUDA graph")
        record.tried("Decoding", of_another, model, floor, compiled, batch=1, way="ours, compiled by Inductor")
    named = {"batch": 1, "way": "transformers RecurrentGemma"}
    if importlib.util.find_spec("transformers") is None:
        record.row("Decoding", **named, remark="not installed: not measured")
    else:
        record.tried("Decoding", of_transformers, None if small else PRESET, dtype, floor, **named)


def of_ours(model, batch_size, floor):
    """The cells of `generate`, with its warnings as a remark, such as that no CUDA graph was captured."""
    prompt = np.ones((batch_size, PROMPT), "int32")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        start = time.perf_counter()
        model.generate(prompt, 1)
        first = time.perf_counter() - start
        model.generate(prompt, WARM_UP)
        steps = of_steps(lambda number: model.generate(prompt, number), batch_size, floor)
    told = " ".join("; ".join(dict.fromkeys(str(warning.message) for warning in caught)).split())[:300]
    return {"first call, s": first, **steps, **({"remark": told} if told else {})}


def of_another(model, floor, options):
    """The cells with attributes of `torch_compile` replaced."""
    from keras_griffin.generation.compilers import torch_compile

    before = {name: getattr(torch_compile, name) for name in options}
    # A step that is already prepared would not see them.
    forget(model)
    try:
        for name, value in options.items():
            setattr(torch_compile, name, value)
        return of_ours(model, 1, floor)
    finally:
        forget(model)
        for name, value in before.items():
            setattr(torch_compile, name, value)


def of_steps(generate, batch_size, floor):
    """The cells of a step, from two calls of different lengths."""
    few, many = (least_seconds(generate, steps, budget=BUDGET) for steps in (FEW, MANY))
    seconds = (many - few) / (MANY - FEW)
    return {"ms a token": 1e3 * seconds, "tokens/s": batch_size / seconds, "floor / time": floor / seconds}


def of_transformers(preset, dtype, floor):
    """The cells of transformers' greedy `generate`."""
    import torch

    from benchmarks.accelerator.transformers_model import recurrent_gemma

    model, _ = recurrent_gemma(preset, getattr(torch, dtype))
    prompt = torch.ones((1, PROMPT), dtype=torch.long, device=model.device)
    # No token ends a text, as in ours.
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = None, 0

    def generate(steps):
        tokens = model.generate(prompt, do_sample=False, max_new_tokens=steps)
        if tokens.shape[1] != PROMPT + steps:
            raise ValueError(f"transformers must make {steps} tokens. Got {tokens.shape[1] - PROMPT}.")

    return of_steps(generate, 1, floor)
