"""Time per decoded token of Mamba, Mamba-2 and RWKV-4, beside transformers on the same machine in the same run.

    KERAS_BACKEND=jax python benchmarks/recurrent_decode.py [MODEL ...]

Widths and vocabulary are those of mamba-130m, mamba2-130m and rwkv-4-169m, with 4 layers and random weights in float32,
a batch of one. Ours is `generate`, greedy, on PyTorch after the calls that trigger its compilation; transformers steps
through its own state with PyTorch, whatever the backend, by its slow path, the only one without a GPU.
"""

import importlib.util
import sys

import numpy as np
from decode import FEW, MANY, warm_up
from timing import BACKEND, least_seconds

from keras_griffin.models import GriffinConfig, LanguageModel
from keras_griffin.models.presets import find_preset

LAYERS = 4
PROMPT = np.arange(8)[None] + 2


def ours(config):
    """Seconds per step of `generate`."""
    model = LanguageModel(config)
    warm_up(model, PROMPT)
    few, many = (least_seconds(model.generate, PROMPT, steps, budget=6) for steps in (FEW, MANY))
    return (many - few) / (MANY - FEW)


def mamba():
    """The model of transformers, and the name of its state."""
    from transformers import MambaConfig, MambaForCausalLM

    return MambaForCausalLM(MambaConfig(vocab_size=50280, hidden_size=768, num_hidden_layers=LAYERS)), "cache"


def mamba2():
    """The same for Mamba-2."""
    from transformers import Mamba2Config, Mamba2ForCausalLM

    sizes = {"hidden_size": 768, "num_heads": 24, "n_groups": 1, "num_hidden_layers": LAYERS}
    return Mamba2ForCausalLM(Mamba2Config(vocab_size=50288, tie_word_embeddings=True, **sizes)), "cache"


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


MAMBA2 = GriffinConfig(50_288, 768, LAYERS, 1, block_pattern=("mamba2",), mlp_width=0, norm_epsilon=1e-5)
#: Our config, and what makes the model of transformers.
ROWS = {
    "Mamba": (find_preset("mamba_130m").replace(num_layers=LAYERS), mamba),
    "Mamba-2": (MAMBA2, mamba2),
    "RWKV-4": (find_preset("rwkv4_169m").replace(num_layers=2 * LAYERS), rwkv),
}


def main():
    """Print the table of the active backend, for all models or those on the command line."""
    names = [name for name in ROWS if name in (sys.argv[1:] or ROWS)]
    print(f"\n### Decoding on {BACKEND}\n")
    print("| model | ours, ms a token | transformers, ms a token | ratio |\n|---|---|---|---|")
    has_peer = importlib.util.find_spec("transformers") is not None
    for name in names:
        config, make = ROWS[name]
        row(name, ours(config), theirs(make) if has_peer else None)


def row(name, seconds, peer):
    """Print a line; the peer is None where it is not installed."""
    if peer is None:
        print(f"| {name} | {1e3 * seconds:.2f} | not installed: not measured | |", flush=True)
    else:
        print(f"| {name} | {1e3 * seconds:.2f} | {1e3 * peer:.2f} | {peer / seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
