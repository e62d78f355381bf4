"""The command `convert`; its description and options are in `options/convert.py`."""

import argparse
import os
import time
from pathlib import Path

import numpy as np

from keras_griffin.commands.errors import CommandError, refusals, refusals_of_the_disk
from keras_griffin.commands.load_model import load_model, refusals_of_the_tokenizer
from keras_griffin.conversion import save_huggingface
from keras_griffin.models.preset_files import save_to_preset

SAVERS = {"preset": save_to_preset, "huggingface": save_huggingface}


def run(arguments: argparse.Namespace) -> int:
    """Load the source and save the target, with a line of output for each."""
    started = time.perf_counter()
    if arguments.quantize and arguments.to != "preset":
        raise CommandError(f"convert: --quantize must go with --to preset. Got {arguments.to}.")
    target = Path(arguments.target)
    if target.is_dir() and not arguments.overwrite and (held := sorted(os.listdir(target))):
        raise CommandError(
            "convert: TARGET must be a new folder, or an empty one; --overwrite replaces an earlier result. "
            f"Got {arguments.target!r}, which has {', '.join(held[:3])}{' and more' * (len(held) > 3)}."
        )
    print(f"Reading {arguments.source}", flush=True)
    # Otherwise the target would silently lack a tokenizer.
    with refusals_of_the_tokenizer("convert: SOURCE must come with a tokenizer that can be read."):
        model = load_model("convert", arguments.source, arguments.dtype, option="SOURCE")
    if arguments.quantize:
        if model.quantized_to is not None:
            raise CommandError(
                f"convert: --quantize needs a SOURCE that is not quantised. Got one quantised to {model.quantized_to}."
            )
        model.quantize(arguments.quantize)
    size = sum(np.dtype(variable.dtype).itemsize * np.prod(variable.shape) for variable in model.weights)
    described = f"{type(model).__name__} with {model.count_params():,} parameters, {size / 1e9:.2f} GB"
    print(f"Writing a {described}, to {arguments.target}", flush=True)
    rule = "TARGET must be a writable folder, on a disk with enough space"
    with refusals(), refusals_of_the_disk("convert", rule, arguments.target):
        SAVERS[arguments.to](model, arguments.target)
    print(f"Done in {time.perf_counter() - started:.0f} s: {', '.join(sorted(os.listdir(arguments.target)))}")
    return 0
