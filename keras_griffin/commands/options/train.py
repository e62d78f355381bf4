"""Train a model on text, keep the best one, and let it write.

Without FILES it learns Python: the sources of the standard library on this machine, about 12 MB.
A model reads and writes tokens. They are bytes, in any encoding; with --vocabulary or --tokenizer
others, for text in UTF-8. It is judged by the bits for each byte, whatever the tokens are.
Several files are split by file, one file by position: the model is validated on text that it has
never seen. Below folders these are left out, and counted: hidden files and folders and __pycache__;
binary files, which have a zero byte among their first 8192; folders that hold a run; links to
folders; empty files and copies. What FILES names itself is read.

The folder of the run gets model.keras (the best model so far, whole at every moment), log.csv,
loss.png (where matplotlib is installed), result.json, and the folder tokenizer where tokens are
not bytes. Validation takes at most about a tenth of the time, and the last one as much again.
Ctrl-C stops after the batch, says where the best model is, and exits with 130. After that, or
after any other end, --resume goes on.
"""

import argparse

from keras_griffin.commands.arguments import positive_float, positive_int
from keras_griffin.commands.arguments import seed as seed_number
from keras_griffin.commands.given import mark_defaults
from keras_griffin.commands.options.sampling import add_sampling_arguments

FAMILIES = ("griffin", "hawk", "mqa")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("files", nargs="*", metavar="FILES", help="files or folders of text")
    parser.add_argument("--include-binary", action="store_true", help="read the binary files below folders too")
    tokens = parser.add_argument_group("tokens").add_mutually_exclusive_group()
    tokens.add_argument(
        "--vocabulary",
        type=positive_int,
        metavar="N",
        help="learn so many tokens from the training text (default: bytes)",
    )
    tokens.add_argument(
        "--tokenizer",
        metavar="PATH",
        help="a folder with a tokenizer, such as that of an earlier run, or tokenizer.json or tokenizer.model itself",
    )
    model = parser.add_argument_group("model")
    model.add_argument("--model", choices=FAMILIES, default="griffin", help="family (default: %(default)s)")
    _add_integer(model, "--width", 192, "width of the residual stream")
    _add_integer(model, "--layers", 6, "residual blocks")
    _add_integer(model, "--heads", 3, "attention heads; divides the width")
    _add_integer(model, "--window", 128, "tokens that local attention sees")
    training = parser.add_argument_group("training")
    length = training.add_mutually_exclusive_group()
    length.add_argument(
        "--minutes", type=positive_float, default=30.0, metavar="X", help="train for about this long (default: 30)"
    )
    length.add_argument(
        "--steps", type=positive_int, metavar="N", help="train for N batches instead, rounded to ten equal epochs"
    )
    _add_integer(training, "--sequence-length", 256, "tokens in a window")
    _add_integer(training, "--batch-size", 8, "windows in a batch")
    training.add_argument(
        "--learning-rate", type=positive_float, default=3e-3, metavar="X", help="at its peak (default: %(default)s)"
    )
    training.add_argument(
        "--seed",
        type=seed_number,
        default=0,
        metavar="N",
        help="of the split, the weights and the batches (default: 0)",
    )
    training.add_argument("--mixed-precision", action="store_true", help="compute in bfloat16, keep weights in float32")
    training.add_argument("--output", metavar="FOLDER", help="of the run (default: runs/MODEL-DATE-TIME)")
    _add_integer(training, "--save-every", 100, "batches after which the run is saved, to go on after a crash")
    training.add_argument(
        "--resume", metavar="FOLDER", help="go on with the run in this folder, which was cut off; needs no other option"
    )
    sample = parser.add_argument_group("what it writes at the end")
    sample.add_argument("--prompt", default="def ", metavar="TEXT", help="what to continue (default: %(default)r)")
    _add_integer(sample, "--sample-bytes", 500, "about how much to write")
    add_sampling_arguments(sample)
    mark_defaults(parser)


def _add_integer(group, option: str, default: int, text: str) -> None:
    group.add_argument(option, type=positive_int, default=default, metavar="N", help=f"{text} (default: {default})")
