"""Time per decoded token of Mamba and RWKV-4, beside transformers on the same machine in the same run.

    KERAS_BACKEND=jax python benchmarks/recurrent_decode.py

Widths and vocabulary are those of mamba-130m and rwkv-4-169m, with 4 layers and random weights in float32, a batch of
one. Ours is `generate`, greedy, on PyTorch after the calls that trigger its compilation; transformers steps through its
own state with PyTorch, whatever the backend, by its slow path, the only one without a GPU.
"""

import importlib.util

import numpy as np
from decode import FEW, MANY, warm_up
from timing import BACKEND, least_seconds

from keras_griffin.models import LanguageModel

LAYERS = 4
PROMPT = np.arange(8)[None] + 2


def ours(preset, layers):
    """Seconds per step of `generate`."""
    model = LanguageModel.from_preset(preset, num_layers=layers)
    warm_up(model, PROMPT)
    few, many = (least_seconds(model.generate, PROMPT, steps, budget=6) for steps in (FEW, MANY))
    return (many - few) / (MANY - FEW)


def mamba():
    """The model of transformers, and the name of its state."""
    from transformers import MambaConfig, MambaForCausalLM

    return MambaForCausalLM(MambaConfig(vocab_size=50280, hidden_size=768, num_hidden_layers=LAYERS)), "cache"


def rwkv():
    """The same for RWKV-4, without its divisions of weights in place."""
    from transformers import RwkvConfig, RwkvForCausalLM

    return RwkvForCausalLM(RwkvConfig(hidden_size=768, num_hidden_layers=LAYERS, rescale_every=0)), "state"


def theirs(make):
    """Seconds per step of transformers, with its state."""
    import torch

    model, state = make()
    model = model.eval()
    prompt = torch.tensor(PROMPT)

    @torch.no_grad()
    def decode(steps):
        output = model(prompt, use_cache=True)
        for _ in range(steps):
            token = output.logits[:, -1:].argmax(-1)
            output = model(token, use_cache=True, **{state: getattr(output, state)})

    few, many = (least_seconds(decode, steps, budget=6) for steps in (FEW, MANY))
    return (many - few) / (MANY - FEW)


ROWS = {"Mamba": ("mamba_130m", LAYERS, mamba), "RWKV-4": ("rwkv4_169m", 2 * LAYERS, rwkv)}


def main():
    """Print the table of the active backend."""
    print(f"\n### Decoding Mamba and RWKV-4 on {BACKEND}\n")
    print("| model | ours, ms a token | transformers, ms a token | ratio |\n|---|---|---|---|")
    for name, (preset, layers, make) in ROWS.items():
        seconds = ours(preset, layers)
        if importlib.util.find_spec("transformers") is None:
            print(f"| {name} | {1e3 * seconds:.2f} | not installed: not measured | |", flush=True)
            continue
        peer = theirs(make)
        print(f"| {name} | {1e3 * seconds:.2f} | {1e3 * peer:.2f} | {peer / seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
