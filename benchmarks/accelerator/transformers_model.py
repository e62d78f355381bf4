"""transformers' RecurrentGemma with random weights, at the size of one of our models."""

import torch
from timing import device

from benchmarks.accelerator.models import SMALL
from keras_griffin.models import presets


def recurrent_gemma(preset: str | None, dtype: torch.dtype = torch.float32):
    """(their model on the device, our config of that size); the small model for None."""
    from transformers import RecurrentGemmaConfig, RecurrentGemmaForCausalLM

    config = SMALL if preset is None else presets()[preset]
    theirs = RecurrentGemmaConfig(
        num_hidden_layers=config.num_layers,
        vocab_size=config.vocabulary_size,
        hidden_size=config.width,
        intermediate_size=2 * config.mlp_width,
        num_attention_heads=config.num_heads,
        num_key_value_heads=1,
        lru_width=config.recurrence_width,
        attention_window_size=config.window,
        head_dim=config.width // config.num_heads,
    )
    # Initialised on the device: on the CPU the 2B model would take longer than all that is measured.
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device("cpu" if device() == "cpu" else "cuda"):
            return RecurrentGemmaForCausalLM(theirs), config
    finally:
        torch.set_default_dtype(before)
