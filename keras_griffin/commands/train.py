"""The command `train`; its description and options are in `options/train.py`."""

import argparse
import json
import math
import os
import random
import sys
import time
from pathlib import Path

import keras

from keras_griffin.commands.errors import INTERRUPTED, REFUSED, CommandError, disk_refusal, refusals, said
from keras_griffin.commands.for_training import prepare_training
from keras_griffin.commands.generate import continue_text
from keras_griffin.commands.train_model import build_model, compile_for_training, evaluate, family
from keras_griffin.commands.train_report import (
    Outlook,
    describe_result,
    describe_run,
    describe_stop,
    describe_validation,
    print_rows,
)
from keras_griffin.commands.train_resume import (
    CHECKPOINTS,
    LOG,
    MODEL,
    PICTURE,
    PROMPT,
    RESULT,
    as_notes,
    check_holds_no_run,
    describe_going_on,
    open_run,
    remove_run,
)
from keras_griffin.commands.train_text import (
    TokenText,
    has_tokenizer,
    keep_prompt,
    keep_tokenizer,
    own_prompt,
    read_text,
)
from keras_griffin.commands.train_time import last_held_out, make_plan
from keras_griffin.commands.versions import versions
from keras_griffin.files import atomic_file
from keras_griffin.models import LanguageModel
from keras_griffin.tasks.text import compressed_bits_per_byte
from keras_griffin.training import (
    BestCheckpoint,
    HeldOutWindows,
    Interrupted,
    RandomWindows,
    ResumableRun,
    Stopwatch,
    Terminated,
    warm_up_then_cosine,
)
from keras_griffin.training.loss_curve import draw_loss_curve


def run(arguments: argparse.Namespace) -> int:
    """Train, validate on the held-out text, and print a sample."""
    prepare_training("train")
    arguments, resumed = open_run(arguments)
    # Keras draws its initialisers' seeds from here; `keras.utils.set_random_seed` would import TensorFlow.
    random.seed(arguments.seed)
    folder = Path(arguments.output) if resumed else output_folder(arguments)
    text = read_text(arguments, resumed)
    with refusals():
        model = build_model(arguments, text.tokenizer)
        compressors = compressed_bits_per_byte(text.corpus.validation)
        print_rows(describe_run(arguments, text, compressors, model))
        prompt = own_prompt(text) if arguments.prompt is None else arguments.prompt
        # It is encoded after an epoch only.
        text.tokenizer.encode(prompt)
    make_folder(folder)
    if arguments.overwrite and not resumed:
        remove_run(folder)
    saved = resumed or ResumableRun(folder / CHECKPOINTS, save_every=arguments.save_every)
    checkpoint = BestCheckpoint(folder / MODEL, monitor="val_bits")
    # Keeps the best model of whole epochs while the model of a partial epoch is better.
    aside = folder / CHECKPOINTS / MODEL
    stopwatch = Stopwatch()
    try:
        keep_prompt(prompt, folder)
        if has_tokenizer(arguments) and not resumed:
            keep_tokenizer(text, folder)
        some_held_out = plan_run(saved, model, text, arguments)
        log = keras.callbacks.CSVLogger(folder / LOG)
        checkpoint.take_back(aside)
        try:
            steps = saved.notes["epochs"] * saved.notes["num_batches"]
            outlook = Outlook(steps - saved.step, lambda length: sample(model, text, arguments, prompt, length))
            fit(saved, model, text, some_held_out, arguments, [checkpoint, stopwatch, log, outlook])
        except Interrupted:
            checkpoint.save_for_now(evaluate(model, some_held_out), aside)
            raise
        if not checkpoint.is_saved:
            saved.remove()
            raise CommandError(
                f"train: the loss must stay finite. Got NaN with the learning rate {arguments.learning_rate}."
            )
        # Loading into the existing model keeps its compiled functions.
        model.load_weights(checkpoint.path)
        held_out = last_held_out(model, text, arguments, some_held_out, saved.seconds)
        print_rows({"validating": f"the best model, on {describe_validation(text, held_out)}"})
        tokens_per_second = arguments.batch_size * arguments.sequence_length / stopwatch.seconds_per_step
        result = {
            "bits_per_byte": evaluate(model, held_out),
            "predicted_bytes": text.predicted_bytes(held_out),
            **compressors,
            "bytes_per_second": tokens_per_second * (len(text.corpus.train) / len(text.train)),
            "tokens_per_second": tokens_per_second,
            "seconds": saved.seconds,
            "steps": steps,
            "parameters": model.count_params(),
            "backend": keras.backend.backend(),
            "versions": versions(text.tokenizer),
            "arguments": vars(arguments),
        }
        is_drawn = draw_loss_curve(folder / LOG, folder / PICTURE, levels=compressors)
        with atomic_file(folder / RESULT) as path:
            path.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
        saved.remove()
        print_rows(describe_result(result, folder, is_drawn))
        written = sample(model, text, arguments, prompt, arguments.sample_bytes)
        if written:
            print(f"\n{written}")
    except KeyboardInterrupt:
        print(describe_stop(checkpoint), file=sys.stderr)
        if saved.is_begun:
            print(describe_going_on(folder), file=sys.stderr)
        return INTERRUPTED
    except Terminated as terminated:
        print(f"Terminated. {describe_going_on(folder)}", file=sys.stderr)
        return terminated.code
    except OSError as error:
        refusal = disk_refusal("train", "files must be writable, on a disk with enough space", error)
        print(said("train", refusal), file=sys.stderr)
        if saved.is_begun:
            print(describe_going_on(folder), file=sys.stderr)
        return REFUSED
    return 0


def output_folder(arguments: argparse.Namespace) -> Path:
    """The folder of the run, which must not contain or overwrite the text, nor an earlier run.

    Raises:
        CommandError: `--output` is empty, lies within the text, or holds a run that `--overwrite` does not give up.
    """
    if arguments.output == "":
        raise CommandError("train: --output must name a folder. Got ''.")
    folder = Path(arguments.output or f"runs/{family(arguments)}-{time.strftime('%Y%m%d-%H%M%S')}")
    # A folder may have several paths, through links and `.`.
    place = Path(os.path.realpath(folder))
    around = [parent for parent in (place, *place.parents) if parent.exists()]
    for path in filter(None, arguments.files):
        if os.path.isdir(path) and any(os.path.samefile(path, parent) for parent in around):
            default = "" if arguments.output else ", the default"
            raise CommandError(
                f"train: --output must be a folder outside the text. Got {str(folder)!r}{default}, within {path!r}."
            )
        file = Path(os.path.realpath(path))
        if file.name in (MODEL, LOG, PICTURE, RESULT, PROMPT) and file.parent == place:
            raise CommandError(
                "train: --output must be a folder whose files are not part of the text. "
                f"Got {str(folder)!r} with {file.name}."
            )
    if not arguments.overwrite:
        check_holds_no_run(folder)
    return folder


def make_folder(folder: Path) -> None:
    """Create the folder of the run.

    Raises:
        CommandError: it can't be created or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Opened to append: an earlier run loses nothing before this one begins.
        (folder / LOG).open("ab").close()
    except OSError as error:
        raise CommandError(
            f"train: --output must be a folder that can be created and written to. Got {str(folder)!r}: {error}."
        ) from error


def sample(model: LanguageModel, text: TokenText, arguments: argparse.Namespace, prompt: str, length: int) -> str:
    """The prompt with the model's continuation, of about `length` bytes; empty if no samples are wanted."""
    if not arguments.sample_bytes:
        return ""
    if not text.is_bytes:
        # The space before a word is part of the word's token.
        prompt = prompt.rstrip(" ") or prompt
    return continue_text(model, prompt, math.ceil(length * len(text.train) / len(text.corpus.train)), arguments)


def plan_run(
    saved: ResumableRun, model: LanguageModel, text: TokenText, arguments: argparse.Namespace
) -> HeldOutWindows:
    """Plan the steps of a new run or recall those of a resumed one; return the windows validated after each epoch."""
    if saved.is_begun:
        print_rows(
            {"resuming": f"after {saved.step:,} of {saved.notes['epochs'] * saved.notes['num_batches']:,} steps"}
        )
    else:
        saved.notes = as_notes(arguments, text.corpus, *make_plan(model, text, arguments))
    held_out = text.held_out(arguments, saved.notes["windows"])
    predicted = text.predicted_bytes(held_out)
    print_rows({"val_bits": f"bits per byte on {predicted:,} of the held-out bytes, after each epoch"})
    return held_out


def fit(
    saved: ResumableRun,
    model: LanguageModel,
    text: TokenText,
    held_out: HeldOutWindows,
    arguments: argparse.Namespace,
    callbacks: list,
) -> None:
    """Train as planned, on windows at random offsets, or resume doing so.

    Raises:
        Interrupted: Ctrl-C was pressed, and the run is saved.
        Terminated: SIGTERM arrived, and the run is saved.
    """
    epochs, num_batches = saved.notes["epochs"], saved.notes["num_batches"]
    shape = arguments.sequence_length, arguments.batch_size
    windows = RandomWindows(text.train, *shape, num_batches=num_batches, seed=arguments.seed)
    compile_for_training(model, warm_up_then_cosine(arguments.learning_rate, epochs * num_batches), text)
    with refusals():
        saved.fit(
            model,
            windows,
            epochs,
            validation_data=held_out,
            callbacks=[keras.callbacks.TerminateOnNaN(), *callbacks],
            # A progress bar is unreadable in a file.
            verbose=1 if sys.stdout.isatty() else 2,
        )
