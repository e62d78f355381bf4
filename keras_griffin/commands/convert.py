"""Turn a checkpoint into a preset, or into a folder for Hugging Face.

SOURCE is a folder or a file of RecurrentGemma, by Hugging Face or DeepMind; or a folder that
save_to_preset wrote; or hf://OWNER/NAME. TARGET is a folder that there is not yet, or one of the
same format, which is replaced when the new one is whole.
"""

import argparse
import os
import time
import warnings
from pathlib import Path

import numpy as np

from keras_griffin.commands.errors import CommandError, refusals, refusals_of_the_disk
from keras_griffin.commands.load_model import DTYPES
from keras_griffin.conversion import save_huggingface
from keras_griffin.models import Griffin, LanguageModel
from keras_griffin.models.hub import SCHEME
from keras_griffin.models.preset_files import save_to_preset

SAVERS = {"preset": save_to_preset, "huggingface": save_huggingface}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("source", metavar="SOURCE", help=f"a folder, a file, or {SCHEME}OWNER/NAME")
    parser.add_argument("target", metavar="TARGET", help="the folder to write")
    parser.add_argument("--to", choices=SAVERS, default="preset", help="the folder's format (default: %(default)s)")
    parser.add_argument(
        "--dtype", choices=DTYPES, metavar="DTYPE", help=f"{', '.join(DTYPES)} (default: a preset's own, or float32)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Load the one and save the other, with a line for each."""
    started = time.perf_counter()
    print(f"Reading {arguments.source}", flush=True)
    model = _load(arguments.source, arguments.dtype)
    size = sum(np.dtype(variable.dtype).itemsize * np.prod(variable.shape) for variable in model.weights)
    described = f"{type(model).__name__} with {model.count_params():,} parameters, {size / 1e9:.2f} GB"
    print(f"Writing a {described}, to {arguments.target}", flush=True)
    rule = "TARGET must be a folder that can be written, on a disk with room"
    with refusals(), refusals_of_the_disk("convert", rule, arguments.target):
        SAVERS[arguments.to](model, arguments.target)
    print(f"Done in {time.perf_counter() - started:.0f} s: {', '.join(sorted(os.listdir(arguments.target)))}")
    return 0


def _load(source: str, dtype: str | None) -> LanguageModel:
    is_on_hub = source.startswith(SCHEME)
    # An empty name would be the folder at hand.
    if not source or not (is_on_hub or os.path.exists(source)):
        raise CommandError(f"convert: SOURCE must be a folder, a file or {SCHEME}OWNER/NAME. Got {source!r}.")
    with warnings.catch_warnings():
        # What is written would have no tokenizer, and nobody would see it.
        warnings.filterwarnings("error", message="The model is loaded without its tokenizer")
        try:
            # A folder may be called as a size of the paper, whose weights would be random.
            return Griffin.from_preset(source if is_on_hub else Path(source).absolute(), dtype=dtype)
        except UserWarning as warning:
            raise CommandError(f"convert: SOURCE must come with a tokenizer that can be read. {warning}") from warning
        except (ImportError, OSError, ValueError) as error:
            raise CommandError(str(error).splitlines()[0]) from error
