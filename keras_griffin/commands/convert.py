"""Turn a checkpoint into a preset, or into a folder for Hugging Face.

SOURCE is a folder or a file of RecurrentGemma, by Hugging Face or DeepMind; or a folder that
save_to_preset wrote; or hf://OWNER/NAME. TARGET is a folder that there is not yet, or one of the
same format, which is replaced when the new one is whole.
"""

import argparse
import os
import time

import numpy as np

from keras_griffin.commands.errors import CommandError, refusals, refusals_of_the_disk
from keras_griffin.commands.load_model import DTYPES, load_preset, refusals_of_the_tokenizer
from keras_griffin.conversion import save_huggingface
from keras_griffin.models.hub import SCHEME
from keras_griffin.models.preset_files import save_to_preset
from keras_griffin.models.quantization import MODES

SAVERS = {"preset": save_to_preset, "huggingface": save_huggingface}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("source", metavar="SOURCE", help=f"a folder, a file, or {SCHEME}OWNER/NAME")
    parser.add_argument("target", metavar="TARGET", help="the folder to write")
    parser.add_argument("--to", choices=SAVERS, default="preset", help="the folder's format (default: %(default)s)")
    parser.add_argument(
        "--dtype", choices=DTYPES, metavar="DTYPE", help=f"{', '.join(DTYPES)} (default: a preset's own, or float32)"
    )
    parser.add_argument("--quantize", choices=MODES, help="the projections and gates of a preset, to so many bits")


def run(arguments: argparse.Namespace) -> int:
    """Load the one and save the other, with a line for each."""
    started = time.perf_counter()
    if arguments.quantize and arguments.to != "preset":
        raise CommandError(f"convert: --quantize must go with --to preset. Got {arguments.to}.")
    print(f"Reading {arguments.source}", flush=True)
    # What is written would have no tokenizer, and nobody would see it.
    with refusals_of_the_tokenizer("convert: SOURCE must come with a tokenizer that can be read."):
        model = load_preset("convert: SOURCE must be a folder, a file", arguments.source, arguments.dtype)
    if arguments.quantize:
        if model.quantized_to is not None:
            raise CommandError(f"convert: --quantize needs a SOURCE that is not. Got one of {model.quantized_to}.")
        model.quantize(arguments.quantize)
    size = sum(np.dtype(variable.dtype).itemsize * np.prod(variable.shape) for variable in model.weights)
    described = f"{type(model).__name__} with {model.count_params():,} parameters, {size / 1e9:.2f} GB"
    print(f"Writing a {described}, to {arguments.target}", flush=True)
    rule = "TARGET must be a folder that can be written, on a disk with room"
    with refusals(), refusals_of_the_disk("convert", rule, arguments.target):
        SAVERS[arguments.to](model, arguments.target)
    print(f"Done in {time.perf_counter() - started:.0f} s: {', '.join(sorted(os.listdir(arguments.target)))}")
    return 0
