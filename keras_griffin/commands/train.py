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
import json
import math
import random
import sys
from functools import partial
from pathlib import Path

from keras_griffin.commands.generate import continue_text
from keras_griffin.commands.shared import options
from keras_griffin.commands.shared.errors import INTERRUPTED, REFUSED, CommandError, disk_refusal, refusals, said
from keras_griffin.commands.shared.terminal import print_rows

FAMILIES = ("griffin", "hawk", "mqa")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    options.add_files(parser)
    tokens = parser.add_argument_group("tokens").add_mutually_exclusive_group()
    text = "train a tokenizer with N tokens on the training text (default: bytes)"
    tokens.add_argument("--vocabulary", type=options.positive_int, metavar="N", help=text)
    text = "a folder with a tokenizer, such as that of an earlier run, or tokenizer.json or tokenizer.model itself"
    tokens.add_argument("--tokenizer", metavar="PATH", help=text)
    model = parser.add_argument_group("model")
    model.add_argument("--model", choices=FAMILIES, default="griffin", help="family (default: %(default)s)")
    text = (
        "mixers of the blocks, repeated, in place of the family's: recurrent, local_mqa, global_mqa, a recurrent unit "
        "such as lru, or a name to which an --option gives a mixer"
    )
    model.add_argument("--pattern", type=options.names, metavar="A,B,...", help=text)
    text = (
        "a constructor argument of a mixer in the pattern, such as wide.mixer=local_mqa or wide.window=512; may be "
        "repeated"
    )
    model.add_argument("--option", type=options.option, action="append", metavar="MIXER.ARGUMENT=VALUE", help=text)
    options.add_number(model, "--width", 192, "width of the residual stream")
    options.add_number(model, "--layers", 6, "residual blocks")
    options.add_number(model, "--heads", 3, "attention heads; divides the width")
    options.add_number(model, "--window", 128, "tokens that local attention sees")
    training = parser.add_argument_group("training")
    length = training.add_mutually_exclusive_group()
    options.add_number(length, "--minutes", 30.0, "train for about this long")
    text = "train for N batches instead, rounded to ten equal epochs"
    length.add_argument("--steps", type=options.positive_int, metavar="N", help=text)
    options.add_windows(training, "tokens")
    training.add_argument("--mixed-precision", action="store_true", help="compute in bfloat16, keep weights in float32")
    text = "folder of the run (default: runs/MODEL-DATE-TIME)"
    options.add_output(training, "FOLDER", text, "an earlier run in FOLDER")
    options.add_number(training, "--save-every", 100, "save the run every N batches, to resume after a crash")
    text = "continue the interrupted run in this folder; needs no other option"
    training.add_argument("--resume", metavar="FOLDER", help=text)
    sample = parser.add_argument_group("samples")
    text = "what to continue (default: the beginning of a line of the held-out text)"
    sample.add_argument("--prompt", metavar="TEXT", help=text)
    text = "approximate length of the sample at the end; 0 for no samples"
    options.add_number(sample, "--sample-bytes", 500, text, options.non_negative_int)
    options.add_sampling(sample)
    options.mark_defaults(parser)


def run(arguments: argparse.Namespace) -> int:
    """Train, validate on the held-out text, and print a sample."""
    import keras

    from keras_griffin.commands.shared import runs, training
    from keras_griffin.commands.shared import text as texts
    from keras_griffin.files import atomic_file
    from keras_griffin.tasks.text import compressed_bits_per_byte
    from keras_griffin.training import BestCheckpoint, Interrupted, ResumableRun, Stopwatch, Terminated
    from keras_griffin.training.loss_curve import draw_loss_curve

    training.prepare_training("train")
    arguments, resumed = runs.open_run(arguments)
    # Keras draws its initialisers' seeds from here; `keras.utils.set_random_seed` would import TensorFlow.
    random.seed(arguments.seed)
    folder = Path(arguments.output) if resumed else runs.output_folder(arguments)
    text = texts.read_text(arguments, resumed)
    with refusals():
        model = training.build_model(arguments, text.tokenizer)
        compressors = compressed_bits_per_byte(text.corpus.validation)
        print_rows(training.describe_run(arguments, text, compressors, model))
        prompt = texts.own_prompt(text) if arguments.prompt is None else arguments.prompt
        # It is encoded after an epoch only.
        text.tokenizer.encode(prompt)
    runs.make_folder(folder)
    if arguments.overwrite and not resumed:
        runs.remove_run(folder)
    saved = resumed or ResumableRun(folder / runs.CHECKPOINTS, save_every=arguments.save_every)
    checkpoint = BestCheckpoint(folder / runs.MODEL, monitor="val_bits")
    # Keeps the best model of whole epochs while the model of a partial epoch is better.
    aside = folder / runs.CHECKPOINTS / runs.MODEL
    stopwatch = Stopwatch()
    try:
        with atomic_file(folder / runs.PROMPT) as path:
            path.write_bytes(prompt.encode("utf-8", "surrogateescape"))
        if texts.has_tokenizer(arguments) and not resumed:
            texts.keep_tokenizer(text, folder)
        some_held_out = training.plan_run(saved, model, text, arguments)
        log = keras.callbacks.CSVLogger(folder / runs.LOG)
        checkpoint.restore_previous(aside)
        try:
            steps = saved.notes["epochs"] * saved.notes["num_batches"]
            outlook = training.Outlook(steps - saved.step, partial(sample, model, text, arguments, prompt))
            training.fit(saved, model, text, some_held_out, arguments, [checkpoint, stopwatch, log, outlook])
        except Interrupted:
            checkpoint.save_provisional(training.evaluate(model, some_held_out), aside)
            raise
        if not checkpoint.is_saved:
            saved.remove()
            raise CommandError(
                f"train: the loss must stay finite. Got NaN with the learning rate {arguments.learning_rate}."
            )
        # Loading into the existing model keeps its compiled functions.
        model.load_weights(checkpoint.path)
        held_out = training.last_held_out(model, text, arguments, some_held_out, saved.seconds)
        print_rows({"validating": f"the best model, on {texts.describe_validation(text, held_out)}"})
        tokens_per_second = arguments.batch_size * arguments.sequence_length / stopwatch.seconds_per_step
        result = {
            "bits_per_byte": training.evaluate(model, held_out),
            "predicted_bytes": text.predicted_bytes(held_out),
            **compressors,
            "bytes_per_second": tokens_per_second * (len(text.corpus.train) / len(text.train)),
            "tokens_per_second": tokens_per_second,
            "seconds": saved.seconds,
            "steps": steps,
            "parameters": model.count_params(),
            "backend": keras.backend.backend(),
            "versions": training.versions(text.tokenizer),
            "arguments": vars(arguments),
        }
        is_drawn = draw_loss_curve(folder / runs.LOG, folder / runs.PICTURE, levels=compressors)
        with atomic_file(folder / runs.RESULT) as path:
            path.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
        saved.remove()
        print_rows(training.describe_result(result, folder, is_drawn))
        written = sample(model, text, arguments, prompt, arguments.sample_bytes)
        if written:
            print(f"\n{written}")
        return 0
    except KeyboardInterrupt:
        message, code = training.describe_stop(checkpoint), INTERRUPTED
    except Terminated as terminated:
        message, code = "Terminated.", terminated.code
    except OSError as error:
        refusal = disk_refusal("train", "files must be writable, on a disk with enough space", error)
        message, code = said("train", refusal), REFUSED
    print(message, file=sys.stderr)
    if saved.is_begun:
        print(runs.describe_resume(folder), file=sys.stderr)
    return code


def sample(model, text, arguments: argparse.Namespace, prompt: str, length: int) -> str:
    """The prompt with the model's continuation, of about `length` bytes; empty if no samples are wanted."""
    if not arguments.sample_bytes:
        return ""
    if not text.is_bytes:
        # The space before a word is part of the word's token.
        prompt = prompt.rstrip(" ") or prompt
    return continue_text(model, prompt, math.ceil(length * len(text.train) / len(text.corpus.train)), arguments)
