"""The command `compare`; its description and options are in `options/compare.py`."""

import argparse
import dataclasses
import os
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import keras

from keras_griffin.commands.compare_report import LINES, Line, note, table, write
from keras_griffin.commands.errors import INTERRUPTED, CommandError, refusals, refusals_of_the_disk
from keras_griffin.commands.for_training import prepare_training
from keras_griffin.commands.train_model import compile_for_training, evaluate
from keras_griffin.commands.train_report import describe_text, describe_validation, print_rows
from keras_griffin.commands.train_text import TokenText, read_text
from keras_griffin.commands.train_time import TIMED_STEPS, describe_division, epoch_windows
from keras_griffin.inspection import measure_decoding
from keras_griffin.inspection.match_parameters import match_parameters
from keras_griffin.models import GriffinConfig, LanguageModel
from keras_griffin.tasks.text import compressed_bits_per_byte, frequency_bits_per_byte
from keras_griffin.training import HeldOutWindows, RandomWindows, Stopwatch, warm_up_then_cosine
from keras_griffin.training.pace import Pace, measure_pace

#: The width of a head of attention, where the width allows it, and the keys that local attention sees.
HEAD_DIM, WINDOW = 64, 128
WRITABLE = "--output must be writable, on a disk with enough space"


def run(arguments: argparse.Namespace) -> int:
    """Train and measure a model of each mixer, and print the table."""
    prepare_training("compare")
    folder = output_folder(arguments)
    text = read_text(argparse.Namespace(**vars(arguments), vocabulary=None, tokenizer=None), None)
    configs = configs_of(arguments, text.tokenizer.vocabulary_size)
    held_out = text.held_out(arguments, epoch_windows(text, arguments))
    print_rows(
        {
            "backend": keras.backend.backend(),
            **describe_text(text, compressed_bits_per_byte(text.corpus.validation)),
            "validating": f"on {describe_validation(text, held_out)}",
            "batch": f"{arguments.batch_size} windows of {arguments.sequence_length} bytes",
        }
    )
    if folder is not None:
        make_folder(folder)
    lines: list[Line] = []
    try:
        steps = arguments.steps or count_steps(configs, text, held_out, arguments)
        title = describe(configs, steps, text, arguments)
        print_rows({"models": title})
        for mixers, config in configs.items():
            lines.append(measure(mixers, config, steps, text, held_out, arguments))
            print_rows({"trained": f"{mixers}: {lines[-1].bits_per_byte:.3f} bits per byte"})
            if folder is not None:
                # After each model: an interruption keeps what is finished.
                with refusals_of_the_disk("compare", WRITABLE, str(folder)):
                    files = write(lines, title, folder)
    except KeyboardInterrupt:
        kept = f", in {folder}" if lines and folder is not None else ""
        print(f"Stopped. {len(lines)} of {len(configs)} models are finished{kept}.", file=sys.stderr)
        return INTERRUPTED
    finally:
        if lines:
            print(f"\n{table(lines)}{note(lines)}")
    if folder is not None:
        print(f"\n{folder} has {', '.join(files)}")
    return 0


def output_folder(arguments: argparse.Namespace) -> Path | None:
    """The folder for the results, or None.

    Raises:
        CommandError: it holds a comparison, is a file or no folder's name, or lies within the text.
    """
    if arguments.output is None:
        return None
    folder = Path(arguments.output)
    if arguments.output == "" or (folder.exists() and not folder.is_dir()):
        raise CommandError(f"compare: --output must be a folder. Got {arguments.output!r}.")
    if (folder / LINES).exists() and not arguments.overwrite:
        raise CommandError(
            "compare: --output must be a folder without a comparison; --overwrite replaces it. "
            f"Got {arguments.output!r}, which has {LINES}."
        )
    place = Path(os.path.realpath(folder))
    for path in arguments.files:
        if os.path.isdir(path) and Path(os.path.realpath(path)) in (place, *place.parents):
            raise CommandError(
                f"compare: --output must be a folder outside the text. Got {arguments.output!r}, within {path!r}."
            )
    return folder


def make_folder(folder: Path) -> None:
    """Create the folder, and check before the training that files can be written there."""
    with refusals_of_the_disk("compare", WRITABLE, str(folder)):
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()


def configs_of(arguments: argparse.Namespace, vocabulary_size: int) -> dict[str, GriffinConfig]:
    """The model of each entry of `--mixers`, all with as many parameters as a Griffin of this width, or more.

    Raises:
        CommandError: a mixer is unknown or refuses the width, an entry is repeated, or has more mixers than layers.
    """
    entries = arguments.mixers
    if len(set(entries)) < len(entries):
        raise CommandError(f"compare: --mixers must name each model once. Got {','.join(entries)}.")
    heads = next(n for n in range(max(1, arguments.width // HEAD_DIM), 0, -1) if arguments.width % n == 0)
    with refusals():
        griffin = GriffinConfig(vocabulary_size, arguments.width, arguments.layers, heads, window=WINDOW)
        configs = {entry: griffin.replace(block_pattern=entry.split("+")) for entry in entries}
        for entry, config in configs.items():
            if len(config.block_pattern) > arguments.layers:
                raise CommandError(
                    f"compare: --layers must be at least the mixers of a model. Got {arguments.layers} for {entry}."
                )
        least = [config.replace(mlp_width=1).parameter_count() for config in configs.values()]
        count = max(griffin.parameter_count(), *least)
        return {entry: match_parameters(config, count) for entry, config in configs.items()}


def count_steps(
    configs: dict[str, GriffinConfig], text: TokenText, held_out: HeldOutWindows, arguments: argparse.Namespace
) -> int:
    """The steps of each model that fit into `--minutes`, found by briefly training all of them."""
    started = time.perf_counter()
    shape = arguments.sequence_length, arguments.batch_size
    timed = RandomWindows(text.train, *shape, num_batches=TIMED_STEPS, seed=arguments.seed)
    few = text.held_out(arguments, arguments.batch_size)
    paces = []
    for config in configs.values():
        model = build(config, text, arguments)
        compile_for_training(model, 0.0, text)
        pace = measure_pace(model, timed, few)
        paces.append(dataclasses.replace(pace, validation=pace.validation * held_out.num_batches / few.num_batches))
    spent = time.perf_counter() - started
    steps = steps_within(paces, 60 * arguments.minutes - spent)
    milliseconds = ", ".join(f"{1000 * pace.step:.0f}" for pace in paces)
    print_rows({"pace": f"{milliseconds} ms per step: enough time for {steps:,} steps each"})
    start, step, validation = (sum(getattr(pace, name) for pace in paces) for name in ("start", "step", "validation"))
    print_rows(describe_division(spent + start, steps * step, validation))
    return steps


def steps_within(paces: Sequence[Pace], seconds: float) -> int:
    """The steps that every model can make in the time, each validated once; at least one."""
    for_steps = seconds - sum(pace.start + pace.validation for pace in paces)
    return max(int(for_steps / sum(pace.step for pace in paces)), 1)


def describe(configs: dict[str, GriffinConfig], steps: int, text: TokenText, arguments: argparse.Namespace) -> str:
    """What all models have in common."""
    counts = [config.parameter_count() for config in configs.values()]
    tokens = steps * arguments.batch_size * arguments.sequence_length
    return f"{arguments.layers} layers of {arguments.width}, {max(counts):,} parameters, {tokens:,} bytes each"


def build(config: GriffinConfig, text: TokenText, arguments: argparse.Namespace) -> LanguageModel:
    """A new model, the same for the same seed."""
    # Keras draws its initialisers' seeds from here.
    random.seed(arguments.seed)
    with refusals():
        return LanguageModel(config, dtype="float32", tokenizer=text.tokenizer)


def measure(
    mixers: str,
    config: GriffinConfig,
    steps: int,
    text: TokenText,
    held_out: HeldOutWindows,
    arguments: argparse.Namespace,
) -> Line:
    """Train a model, validate it, and let it decode."""
    model = build(config, text, arguments)
    compile_for_training(model, warm_up_then_cosine(arguments.learning_rate, steps), text)
    shape = arguments.sequence_length, arguments.batch_size
    # The same for every model.
    windows = RandomWindows(text.train, *shape, num_batches=steps, seed=arguments.seed)
    stopwatch = Stopwatch()
    with refusals():
        model.fit(
            windows,
            shuffle=False,
            callbacks=[keras.callbacks.TerminateOnNaN(), stopwatch],
            verbose=1 if sys.stdout.isatty() else 0,
        )
    bits = evaluate(model, held_out)
    decoding = measure_decoding(model, [arguments.sequence_length])
    return Line(
        mixers,
        model.count_params(),
        bits,
        frequency_bits_per_byte(text.corpus.train, text.corpus.validation),
        arguments.sequence_length * arguments.batch_size / stopwatch.seconds_per_step,
        1000 * float(decoding.seconds_per_step[0]),
        float(decoding.cache_bytes[0]),
    )
