"""Train a model on text, save the best one, and sample from it.

Without FILES the text is Python: the source of this machine's standard library, about 12 MB.
Tokens are bytes, in any encoding; with --vocabulary or --tokenizer the text must be UTF-8. The
metric is bits per byte, whatever the tokens are. Several files are split into training and held-out
text by file, a single file by position: the model is validated on text that it has never seen.
Inside folders, the following are left out and counted: hidden files and folders, __pycache__,
binary files (with a zero byte among their first 8192), folders that hold a run, links to folders,
empty files and copies. A file named in FILES is always read.

The folder of the run gets model.keras (the best model so far, replaced atomically), log.csv,
loss.png (if matplotlib is installed), result.json, prompt.txt (what the samples continue), and a
folder tokenizer if tokens are not bytes. An earlier run there is kept, unless --overwrite is given.
The validations after the epochs take about a tenth of the time at most, the last one as much again.
Ctrl-C stops after the current batch, prints the path of the best model, and exits with 130. An
interrupted run continues with --resume, even after a crash.
"""

import argparse

from keras_griffin.commands.arguments import names, non_negative_int, option, positive_float, positive_int
from keras_griffin.commands.arguments import seed as seed_number
from keras_griffin.commands.given import Append, mark_defaults
from keras_griffin.commands.options.sampling import add_sampling_arguments

FAMILIES = ("griffin", "hawk", "mqa")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("files", nargs="*", metavar="FILES", help="files or folders of text")
    parser.add_argument("--include-binary", action="store_true", help="also read binary files inside folders")
    tokens = parser.add_argument_group("tokens").add_mutually_exclusive_group()
    tokens.add_argument(
        "--vocabulary",
        type=positive_int,
        metavar="N",
        help="train a tokenizer with N tokens on the training text (default: bytes)",
    )
    tokens.add_argument(
        "--tokenizer",
        metavar="PATH",
        help="a folder with a tokenizer, such as that of an earlier run, or tokenizer.json or tokenizer.model itself",
    )
    model = parser.add_argument_group("model")
    model.add_argument("--model", choices=FAMILIES, default="griffin", help="family (default: %(default)s)")
    model.add_argument(
        "--pattern",
        type=names,
        metavar="A,B,...",
        help="mixers of the blocks, repeated, in place of the family's: recurrent, local_mqa, global_mqa, a recurrent "
        "unit such as lru, or a name to which an --option gives a mixer",
    )
    model.add_argument(
        "--option",
        type=option,
        action=Append,
        metavar="MIXER.ARGUMENT=VALUE",
        help="a constructor argument of a mixer in the pattern, such as wide.mixer=local_mqa or wide.window=512; may "
        "be repeated",
    )
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
        "--learning-rate",
        type=positive_float,
        default=3e-3,
        metavar="X",
        help="peak learning rate (default: %(default)s)",
    )
    training.add_argument(
        "--seed",
        type=seed_number,
        default=0,
        metavar="N",
        help="seed of the split, the weights and the batches (default: 0)",
    )
    training.add_argument("--mixed-precision", action="store_true", help="compute in bfloat16, keep weights in float32")
    training.add_argument("--output", metavar="FOLDER", help="folder of the run (default: runs/MODEL-DATE-TIME)")
    training.add_argument("--overwrite", action="store_true", help="replace an earlier run in FOLDER")
    _add_integer(training, "--save-every", 100, "save the run every N batches, to resume after a crash")
    training.add_argument(
        "--resume", metavar="FOLDER", help="continue the interrupted run in this folder; needs no other option"
    )
    sample = parser.add_argument_group("samples")
    sample.add_argument(
        "--prompt", metavar="TEXT", help="what to continue (default: the beginning of a line of the held-out text)"
    )
    sample.add_argument(
        "--sample-bytes",
        type=non_negative_int,
        default=500,
        metavar="N",
        help="approximate length of the sample at the end; 0 for no samples (default: %(default)s)",
    )
    add_sampling_arguments(sample)
    mark_defaults(parser)


def _add_integer(group, option: str, default: int, text: str) -> None:
    group.add_argument(option, type=positive_int, default=default, metavar="N", help=f"{text} (default: {default})")
