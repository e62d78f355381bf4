"""Train small models of several mixers on the same text, and compare them.

FILES are read as by train, as bytes; without them the text is the source of Python's standard
library. All models have the same width, the same number of layers, and, by the width of their MLPs,
the same number of parameters. They see the same batches in the same order. The table has a line for
each: the held-out bits per byte, the speed of training, and the time of a token and the bytes of a
row's state when decoding.

Small models tell little of large ones, and one seed is one draw: repeat a comparison with another
--seed before you believe a small difference.
"""

import argparse
import csv
import importlib.util
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from keras_griffin.commands.shared.errors import INTERRUPTED, CommandError, refusals, refusals_of_the_disk
from keras_griffin.commands.shared.options import add_files, add_number, add_output, add_windows, names, positive_int
from keras_griffin.commands.shared.outputs import check_outside_text
from keras_griffin.commands.shared.terminal import print_rows

MIXERS = "recurrent,mamba,rwkv4+rwkv4_channel,lru"
#: The width of a head of attention, where the width allows it, and the keys that local attention sees.
HEAD_DIM, WINDOW = 64, 128
WRITABLE = "--output must be writable, on a disk with enough space"
#: The files in the folder of a comparison.
LINES, TABLE, PICTURE = "comparison.csv", "comparison.md", "comparison.png"


class Line(NamedTuple):
    """What was measured of one model; a field's name is a column of the CSV file."""

    mixers: str
    parameters: int
    #: On the held-out text, and what single bytes need there, by their frequencies alone.
    bits_per_byte: float
    frequency_bits_per_byte: float
    #: In training.
    tokens_per_second: float
    #: When decoding one row, after as many tokens as a window of training has.
    ms_per_token: float
    state_bytes: float

    @property
    def is_too_short(self) -> bool:
        """Whether the model predicts no better than frequencies: it has not begun to learn what a mixer is for."""
        return not self.bits_per_byte < self.frequency_bits_per_byte


#: By column of the table, the field and its format.
COLUMNS = {
    "mixers": ("mixers", "{}"),
    "parameters": ("parameters", "{:,}"),
    "bits per byte": ("bits_per_byte", "{:.3f}"),
    "tokens/s": ("tokens_per_second", "{:,.0f}"),
    "ms a token": ("ms_per_token", "{:.2f}"),
    "state bytes": ("state_bytes", "{:,.0f}"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    add_files(parser)
    models = parser.add_argument_group("models")
    text = (
        f"what to compare: names as in train --pattern; a + joins those that alternate in one model (default: {MIXERS})"
    )
    models.add_argument("--mixers", type=names, default=MIXERS.split(","), metavar="A,B+C,...", help=text)
    add_number(models, "--width", 128, "width of the residual stream")
    add_number(models, "--layers", 4, "residual blocks")
    training = parser.add_argument_group("training")
    length = training.add_mutually_exclusive_group()
    add_number(length, "--minutes", 10.0, "train for about this long, all models together")
    length.add_argument("--steps", type=positive_int, metavar="N", help="train each model for N batches instead")
    add_windows(training, "bytes")
    text = "write the table as CSV and Markdown, and a plot, into this folder"
    add_output(parser, "FOLDER", text, "an earlier comparison in FOLDER")


def run(arguments: argparse.Namespace) -> int:
    """Train and measure a model of each mixer, and print the table."""
    import keras

    from keras_griffin.commands.shared.text import describe_text, describe_validation, read_text
    from keras_griffin.commands.shared.training import epoch_windows, prepare_training
    from keras_griffin.tasks.text import compressed_bits_per_byte

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
        # Before the training: files can be written there.
        with refusals_of_the_disk("compare", WRITABLE, str(folder)):
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
    lines: list[Line] = []
    try:
        steps = arguments.steps or count_steps(configs, text, held_out, arguments)
        parameters = max(config.parameter_count() for config in configs.values())
        tokens = steps * arguments.batch_size * arguments.sequence_length
        size = f"{arguments.layers} layers of {arguments.width}, {parameters:,} parameters"
        title = f"{size}, {tokens:,} bytes each"
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
    """The folder for the results, or None."""
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
    check_outside_text("compare", folder, arguments.files, repr(arguments.output))
    return folder


def configs_of(arguments: argparse.Namespace, vocabulary_size: int) -> dict:
    """The model of each entry of `--mixers`, all with as many parameters as a Griffin of this width, or more."""
    from keras_griffin.inspection.match_parameters import match_parameters
    from keras_griffin.models import GriffinConfig

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


def count_steps(configs: dict, text, held_out, arguments: argparse.Namespace) -> int:
    """The steps of each model that fit into `--minutes`, found by briefly training all of them."""
    from keras_griffin.commands.shared.training import describe_division, pace_of
    from keras_griffin.training.pace import Pace

    started = time.perf_counter()
    paces = [pace_of(build(config, text, arguments), text, arguments) for config in configs.values()]
    spent = time.perf_counter() - started
    validation = held_out.num_batches * sum(pace.validation for pace in paces)
    pace = Pace(sum(pace.start for pace in paces), sum(pace.step for pace in paces), validation)
    steps = pace.steps_within(60 * arguments.minutes - spent, 1)
    milliseconds = ", ".join(f"{1000 * pace.step:.0f}" for pace in paces)
    print_rows({"pace": f"{milliseconds} ms per step: enough time for {steps:,} steps each"})
    print_rows(describe_division(spent + pace.start, steps * pace.step, pace.validation))
    return steps


def build(config, text, arguments: argparse.Namespace):
    """A new model, the same for the same seed."""
    from keras_griffin.models import LanguageModel

    # Keras draws its initialisers' seeds from here.
    random.seed(arguments.seed)
    with refusals():
        return LanguageModel(config, dtype="float32", tokenizer=text.tokenizer)


def measure(mixers: str, config, steps: int, text, held_out, arguments: argparse.Namespace) -> Line:
    """Train a model, validate it, and time its decoding."""
    import keras

    from keras_griffin.commands.shared.training import compile_for_training, evaluate
    from keras_griffin.inspection import measure_decoding
    from keras_griffin.tasks.text import frequency_bits_per_byte
    from keras_griffin.training import RandomWindows, Stopwatch, warm_up_then_cosine

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


def table(lines: Sequence[Line]) -> str:
    """The lines in Markdown, in columns that a terminal shows straight."""
    cells = [[*COLUMNS], *([form.format(getattr(line, field)) for field, form in COLUMNS.values()] for line in lines)]
    for row, line in zip(cells[1:], lines, strict=True):
        row[2] += "*" if line.is_too_short else ""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rows = [[name.ljust(widths[0]), *map(str.rjust, numbers, widths[1:])] for name, *numbers in cells]
    rows.insert(1, ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def note(lines: Sequence[Line]) -> str:
    """What the mark in the table means, after an empty line; empty if no line has it."""
    if not any(line.is_too_short for line in lines):
        return ""
    bits = lines[0].frequency_bits_per_byte
    return (
        "\n\nMarked with *: too short to compare, no better than the frequencies of single\n"
        f"bytes, {bits:.3f} bits. Give more --minutes or --steps, or fewer --mixers."
    )


def write(lines: Sequence[Line], title: str, folder: Path) -> list[str]:
    """Write the files of a comparison, each atomically; returns their names."""
    from keras_griffin.files import atomic_file

    with atomic_file(folder / LINES) as path, path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerows([Line._fields, *lines])
    with atomic_file(folder / TABLE) as path:
        path.write_text(f"# {title}\n\n{table(lines)}{note(lines)}\n", encoding="utf-8", errors="replace")
    # Installed with the extra `viz`.
    if importlib.util.find_spec("matplotlib") is None:
        return [LINES, TABLE]
    with atomic_file(folder / PICTURE) as path:
        draw(lines, title, path)
    return [LINES, TABLE, PICTURE]


def draw(lines: Sequence[Line], title: str, path: Path) -> None:
    """Plot bits per byte against the speed of training, and against the bytes of the state; needs matplotlib."""
    # Without pyplot, the user's plotting state is untouched and no display is needed.
    from matplotlib.figure import Figure
    from matplotlib.ticker import StrMethodFormatter

    figure = Figure(figsize=(10, 4.5), layout="constrained")
    fields = {"tokens_per_second": "tokens/s in training", "state_bytes": "state bytes"}
    for axes, (field, label) in zip(figure.subplots(1, 2, sharey=True), fields.items(), strict=True):
        for line in lines:
            point = getattr(line, field), line.bits_per_byte
            axes.plot(*point, "o", fillstyle="none" if line.is_too_short else "full")
            axes.annotate(line.mixers, point, xytext=(5, 4), textcoords="offset points", fontsize=8)
        values = [getattr(line, field) for line in lines]
        # Between values that are close there may be no power of two, and so no tick.
        if max(values) > 8 * min(values):
            axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        # Room for the last names.
        axes.margins(x=0.25, y=0.15)
        axes.set_xlabel(label)
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("bits per byte, held out")
    figure.suptitle(title)
    figure.savefig(path, dpi=150)
