"""transformers' RecurrentGemma with random weights, at the size of one of our models."""

import torch
from model import transformers_config
from timing import device

from benchmarks.accelerator.models import SMALL
from keras_griffin.models import presets


def recurrent_gemma(preset: str | None, dtype: torch.dtype = torch.float32):
    """(their model on the device, our config of that size); the small model for None."""
    from transformers import RecurrentGemmaForCausalLM

    config = SMALL if preset is None else presets()[preset]
    theirs = transformers_config(config, config.recurrence_width)
    # Initialised on the device: on the CPU the 2B model would take longer than all that is measured.
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device("cpu" if device() == "cpu" else "cuda"):
            return RecurrentGemmaForCausalLM(theirs), config
    finally:
        torch.set_default_dtype(before)
