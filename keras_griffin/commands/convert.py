"""Convert a checkpoint to a preset, or to a folder for Hugging Face.

SOURCE is the folder of a run, or a .keras file; a checkpoint of RecurrentGemma by Hugging Face or
DeepMind, or of Mamba or RWKV-4 by Hugging Face or its authors (a folder or a file); what
save_to_preset wrote; or hf://OWNER/NAME. TARGET is a new folder, or an earlier result, which
--overwrite replaces once the new one is complete.
"""

import argparse
import os
import time

from keras_griffin.commands.shared.errors import CommandError, refusals, refusals_of_the_disk
from keras_griffin.commands.shared.options import DTYPES
from keras_griffin.commands.shared.outputs import check_new_folder

BITS = ("int8", "int4")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("source", metavar="SOURCE", help="a folder, a file, or hf://OWNER/NAME")
    parser.add_argument("target", metavar="TARGET", help="the folder to write")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier result in TARGET")
    formats = ("preset", "huggingface")
    parser.add_argument("--to", choices=formats, default="preset", help="the folder's format (default: %(default)s)")
    text = f"{', '.join(DTYPES)} (default: that of the preset, or float32); not for a .keras file"
    parser.add_argument("--dtype", choices=DTYPES, metavar="DTYPE", help=text)
    parser.add_argument("--quantize", choices=BITS, help="quantise the projections and gates of the preset")


def run(arguments: argparse.Namespace) -> int:
    """Load the source and save the target, with a line of output for each."""
    import numpy as np

    from keras_griffin.commands.shared.load import load_model, refusals_of_the_tokenizer
    from keras_griffin.conversion import save_huggingface
    from keras_griffin.models.saving.preset_files import save_to_preset

    started = time.perf_counter()
    if arguments.quantize and arguments.to != "preset":
        raise CommandError(f"convert: --quantize must go with --to preset. Got {arguments.to}.")
    check_new_folder("convert", arguments.target, arguments.overwrite, "TARGET")
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
    save = save_to_preset if arguments.to == "preset" else save_huggingface
    rule = "TARGET must be a writable folder, on a disk with enough space"
    with refusals(), refusals_of_the_disk("convert", rule, arguments.target):
        save(model, arguments.target)
    print(f"Done in {time.perf_counter() - started:.0f} s: {', '.join(sorted(os.listdir(arguments.target)))}")
    return 0
