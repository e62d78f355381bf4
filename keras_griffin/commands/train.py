"""The command `train`; what it is for, and its options, stand in `options/train.py`."""

import argparse
import json
import os
import random
import sys
import time
from pathlib import Path

import keras

from keras_griffin.backend import BACKENDS
from keras_griffin.commands.errors import INTERRUPTED, REFUSED, CommandError, disk_refusal, refusals
from keras_griffin.commands.generate import continue_text
from keras_griffin.commands.train_report import describe_result, describe_run, describe_stop, print_rows
from keras_griffin.commands.train_resume import (
    CHECKPOINTS,
    LOG,
    MODEL,
    PICTURE,
    RESULT,
    as_notes,
    check_text,
    describe_going_on,
    holds_run,
    open_run,
    saved_run,
)
from keras_griffin.files import atomic_file
from keras_griffin.models import Griffin, GriffinConfig, Hawk, LanguageModel, MQATransformer
from keras_griffin.tasks.text import Corpus, compressed_bits_per_byte, load_corpus
from keras_griffin.tokenizers import ByteTokenizer
from keras_griffin.training import (
    AdamW,
    BestCheckpoint,
    BitsPerByte,
    HeldOutWindows,
    Interrupted,
    RandomWindows,
    ResumableRun,
    Stopwatch,
    Terminated,
    draw_loss_curve,
    measure_pace,
    warm_up_then_cosine,
)

FAMILIES = {"griffin": Griffin, "hawk": Hawk, "mqa": MQATransformer}
#: How often a run is validated, and on how many bytes; the last validation takes all that are held out.
EPOCHS = 10
EPOCH_VALIDATION_BYTES = 32768
#: The steps that are timed to tell how many fit into the minutes asked for.
TIMED_STEPS = 8


def run(arguments: argparse.Namespace) -> int:
    """Train, validate on all held-out bytes, and write."""
    if keras.backend.backend() not in BACKENDS:
        raise CommandError(
            f"train: KERAS_BACKEND must be one of {', '.join(BACKENDS)}. Got {keras.backend.backend()}, which computes "
            "no gradients."
        )
    arguments, resumed = open_run(arguments)
    # Keras draws its initialisers' seeds from here; `keras.utils.set_random_seed` would import TensorFlow.
    random.seed(arguments.seed)
    folder = Path(arguments.output) if resumed else output_folder(arguments)
    with refusals():
        corpus = load_corpus(
            arguments.files,
            seed=arguments.seed,
            least_bytes=arguments.sequence_length + 1,
            include_binary=arguments.include_binary,
            holds_run=holds_run,
        )
        if resumed:
            check_text(resumed, corpus)
        model = build_model(arguments)
        compressors = compressed_bits_per_byte(corpus.validation)
        some_held_out = held_out_windows(corpus, arguments, EPOCH_VALIDATION_BYTES)
        print_rows(describe_run(arguments, corpus, compressors, model, some_held_out.num_predictions))
    make_folder(folder)
    saved = resumed or new_run(folder, arguments)
    checkpoint = BestCheckpoint(folder / MODEL, monitor="val_bits")
    # The best model of whole epochs, while that of half an epoch is better.
    aside = folder / CHECKPOINTS / MODEL
    stopwatch = Stopwatch()
    try:
        log = keras.callbacks.CSVLogger(folder / LOG)
        checkpoint.take_back(aside)
        try:
            fit(saved, model, corpus, some_held_out, arguments, [checkpoint, stopwatch, log])
        except Interrupted:
            checkpoint.save_for_now(evaluate(model, some_held_out), aside)
            raise
        if not checkpoint.is_saved:
            saved.remove()
            raise CommandError(
                f"train: the loss must stay finite, and it became NaN. Got the learning rate {arguments.learning_rate}."
            )
        # Loading into the model at hand keeps what was compiled.
        model.load_weights(checkpoint.path)
        print_rows({"validating": f"the best model, on all {len(corpus.validation):,} held-out bytes"})
        result = {
            "bits_per_byte": evaluate(model, held_out_windows(corpus, arguments)),
            **compressors,
            "bytes_per_second": arguments.batch_size * arguments.sequence_length / stopwatch.seconds_per_step,
            "seconds": saved.seconds,
            "parameters": model.count_params(),
            "backend": keras.backend.backend(),
            "arguments": vars(arguments),
        }
        is_drawn = draw_loss_curve(folder / LOG, folder / PICTURE, levels=compressors)
        with atomic_file(folder / RESULT) as path:
            path.write_text(json.dumps(result, indent=2) + "\n")
        saved.remove()
        print_rows(describe_result(result, corpus, folder, is_drawn))
        print(f"\n{continue_text(model, arguments.prompt, arguments.sample_bytes, arguments)}")
    except KeyboardInterrupt:
        print(describe_stop(checkpoint), file=sys.stderr)
        if saved.is_begun:
            print(describe_going_on(folder), file=sys.stderr)
        return INTERRUPTED
    except Terminated as terminated:
        print(f"Terminated. {describe_going_on(folder)}", file=sys.stderr)
        return terminated.code
    except OSError as error:
        print(disk_refusal("train", "files must be writable, and the disk must have room", error), file=sys.stderr)
        if saved.is_begun:
            print(describe_going_on(folder), file=sys.stderr)
        return REFUSED
    return 0


def new_run(folder: Path, arguments: argparse.Namespace) -> ResumableRun:
    """A run that begins in a folder, where none waits to go on."""
    run = saved_run(folder)
    if run.is_begun:
        raise CommandError(
            "train: --output must be a folder without a run that was cut off. Got "
            f"{str(folder)!r}, which has one: go on with it by --resume, or remove its {CHECKPOINTS}."
        )
    run.save_every = arguments.save_every
    return run


def build_model(arguments: argparse.Namespace) -> LanguageModel:
    """The model that the options ask for."""
    config = GriffinConfig(
        vocabulary_size=ByteTokenizer.vocabulary_size,
        width=arguments.width,
        num_layers=arguments.layers,
        num_heads=arguments.heads,
        window=arguments.window,
    )
    dtype = "mixed_bfloat16" if arguments.mixed_precision else "float32"
    return FAMILIES[arguments.model](config, dtype=dtype, tokenizer=ByteTokenizer())


def output_folder(arguments: argparse.Namespace) -> Path:
    """Where the run will be: nowhere that it would read, or write over, its own text.

    Raises:
        CommandError: `--output` is no name, or lies in the text.
    """
    if arguments.output == "":
        raise CommandError("train: --output must name a folder. Got ''.")
    folder = Path(arguments.output or f"runs/{arguments.model}-{time.strftime('%Y%m%d-%H%M%S')}")
    # The same place may have several names, through links and `.`.
    place = Path(os.path.realpath(folder))
    around = [parent for parent in (place, *place.parents) if parent.exists()]
    for path in filter(None, arguments.files):
        if os.path.isdir(path) and any(os.path.samefile(path, parent) for parent in around):
            default = "" if arguments.output else ", the default"
            raise CommandError(
                f"train: --output must be a folder outside of the text. Got {str(folder)!r}{default}, within {path!r}."
            )
        text = Path(os.path.realpath(path))
        if text.name in (MODEL, LOG, PICTURE, RESULT) and text.parent == place:
            raise CommandError(
                f"train: --output must be a folder whose files are not the text. Got {str(folder)!r} with {text.name}."
            )
    return folder


def make_folder(folder: Path) -> None:
    """Make the folder of the run.

    Raises:
        CommandError: it can't be made, or not written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Nothing of an earlier run is lost before this one begins.
        (folder / LOG).open("a").close()
    except OSError as error:
        raise CommandError(
            f"train: --output must be a folder that can be made and written to. Got {str(folder)!r}: {error}."
        ) from error


def held_out_windows(corpus: Corpus, arguments: argparse.Namespace, num_bytes: int | None = None) -> HeldOutWindows:
    """Windows over about so many of the held-out bytes, evenly spread; over all of them where no number is given."""
    windows = None if num_bytes is None else -(-num_bytes // arguments.sequence_length)
    return HeldOutWindows(corpus.validation, arguments.sequence_length, arguments.batch_size, windows)


def fit(
    saved: ResumableRun,
    model: LanguageModel,
    corpus: Corpus,
    held_out: HeldOutWindows,
    arguments: argparse.Namespace,
    callbacks: list,
) -> None:
    """Train for the time or the steps that were asked for, on windows that start anywhere; or go on with that.

    Raises:
        Interrupted: Ctrl-C was pressed, and the run is saved.
        Terminated: SIGTERM has come, and the run is saved.
    """
    shape = arguments.sequence_length, arguments.batch_size
    if saved.is_begun:
        print_rows({"goes on": f"after {saved.step:,} of {saved.notes['epochs'] * saved.notes['num_batches']:,} steps"})
    else:
        steps = arguments.steps
        if steps is None:
            timed = RandomWindows(corpus.train, *shape, num_batches=TIMED_STEPS, seed=arguments.seed)
            steps = count_steps(model, timed, held_out, 60 * arguments.minutes)
        epochs = min(EPOCHS, steps)
        saved.notes = as_notes(arguments, corpus, epochs, round(steps / epochs))
    epochs, num_batches = saved.notes["epochs"], saved.notes["num_batches"]
    windows = RandomWindows(corpus.train, *shape, num_batches=num_batches, seed=arguments.seed)
    compile_for_training(model, warm_up_then_cosine(arguments.learning_rate, epochs * num_batches))
    with refusals():
        saved.fit(
            model,
            windows,
            epochs,
            validation_data=held_out,
            callbacks=[keras.callbacks.TerminateOnNaN(), *callbacks],
            # A progress bar in a file is a mess.
            verbose=1 if sys.stdout.isatty() else 2,
        )


def count_steps(model: LanguageModel, timed: RandomWindows, held_out: HeldOutWindows, seconds: float) -> int:
    """The steps for which the time is enough, found by training for a moment with a learning rate of zero."""
    started = time.perf_counter()
    compile_for_training(model, 0.0)
    pace = measure_pace(model, timed, held_out)
    steps = pace.steps_within(seconds - (time.perf_counter() - started), EPOCHS)
    print_rows({"pace": f"{1000 * pace.step:.0f} ms a step: the time is enough for {steps:,} steps"})
    return steps


def compile_for_training(model: LanguageModel, learning_rate) -> None:
    """Compile for next-byte prediction."""
    model.compile(
        optimizer=AdamW(learning_rate),
        loss=model.loss,
        # With a longer name the progress bar would break in 80 columns.
        weighted_metrics=[BitsPerByte(name="bits")],
    )


def evaluate(model: LanguageModel, held_out: HeldOutWindows) -> float:
    """The bits per byte over the windows."""
    verbose = 1 if sys.stdout.isatty() else 0
    return model.evaluate(held_out, verbose=verbose, return_dict=True)["bits"]
