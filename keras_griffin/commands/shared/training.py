"""What the commands that train share: the model, its optimizer, and how `train` divides its time.

Together, the validations after the epochs take at most a tenth of the time. So does the last one, which covers the
whole held-out text if that time is enough.
"""

import argparse
import dataclasses
import platform
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path

import keras

from keras_griffin.backend import BACKENDS
from keras_griffin.commands.explain import requests, training_kernels, unused
from keras_griffin.commands.shared.errors import CommandError, refusals
from keras_griffin.commands.shared.options import parsed_option
from keras_griffin.commands.shared.runs import as_notes, family
from keras_griffin.commands.shared.terminal import command, print_rows
from keras_griffin.commands.shared.text import TokenText, describe_text, versus
from keras_griffin.models import Griffin, GriffinConfig, Hawk, LanguageModel, MQATransformer
from keras_griffin.ops.implementation import current_facts
from keras_griffin.program import is_command_line
from keras_griffin.tokenizers import HuggingFaceTokenizer, SentencePieceTokenizer
from keras_griffin.training import (
    AdamW,
    BestCheckpoint,
    BitsPerByte,
    HeldOutWindows,
    RandomWindows,
    ResumableRun,
    retain_memory,
    warm_up_then_cosine,
)
from keras_griffin.training.pace import Pace, measure_pace

_TOKENIZERS = {HuggingFaceTokenizer: "tokenizers", SentencePieceTokenizer: "sentencepiece"}
FAMILIES = {"griffin": Griffin, "hawk": Hawk, "mqa": MQATransformer}
#: How often a run is validated, and on how many bytes at most; the last validation covers as much as its time allows.
EPOCHS = 10
EPOCH_VALIDATION_BYTES = 32768
#: The share of the time for validations, and the seconds that the last one always has, even after a short run.
SHARE = 0.1
LEAST_SECONDS = 5.0
#: The training steps, and validation batches, that are timed to find how many fit into `--minutes`.
TIMED_STEPS = 8


def prepare_training(name: str) -> None:
    """Refuse a backend that computes no gradients, and let the process of a command line keep its memory."""
    backend = keras.backend.backend()
    if backend not in BACKENDS:
        raise CommandError(
            f"{name}: KERAS_BACKEND must be one of {', '.join(BACKENDS)}. Got {backend}, which computes no gradients."
        )
    # A program that imports a command keeps its own settings.
    if is_command_line():
        retain_memory()


def build_model(arguments: argparse.Namespace, tokenizer) -> LanguageModel:
    """The model that the options describe, with the vocabulary of a tokenizer."""
    mixer_options: dict = {}
    for (*path, name), value in map(parsed_option, arguments.option or []):
        inside = mixer_options
        for place in path:
            inside = inside.setdefault(place, {})
        inside[name] = value
    config = GriffinConfig(
        vocabulary_size=tokenizer.vocabulary_size,
        width=arguments.width,
        num_layers=arguments.layers,
        num_heads=arguments.heads,
        window=arguments.window,
        mixer_options=mixer_options,
        **({} if arguments.pattern is None else {"block_pattern": arguments.pattern}),
    )
    dtype = "mixed_bfloat16" if arguments.mixed_precision else "float32"
    kind = FAMILIES[arguments.model] if arguments.pattern is None else LanguageModel
    return kind(config, dtype=dtype, tokenizer=tokenizer)


def compile_for_training(model: LanguageModel, learning_rate, text: TokenText) -> None:
    """Compile for next-token prediction; the metric, bits per byte, is comparable between tokenizers."""
    written = {} if text.is_bytes else {"token_bytes": text.token_bytes}
    model.compile(
        optimizer=AdamW(learning_rate),
        loss=model.loss,
        # A longer name would wrap the progress bar at 80 columns.
        weighted_metrics=[BitsPerByte(name="bits", **written)],
    )


def evaluate(model: LanguageModel, held_out: HeldOutWindows) -> float:
    """The bits per byte over the windows."""
    verbose = 1 if sys.stdout.isatty() else 0
    return model.evaluate(held_out, verbose=verbose, return_dict=True)["bits"]


def make_plan(model: LanguageModel, text: TokenText, arguments: argparse.Namespace) -> dict[str, int]:
    """The number of epochs, batches per epoch, and windows validated after each; for `--minutes`, by timing."""
    windows = epoch_windows(text, arguments)
    if arguments.steps is None:
        steps, batches = count_steps(model, text, arguments, -(-windows // arguments.batch_size))
        epochs = EPOCHS
    else:
        steps = arguments.steps
        epochs = min(EPOCHS, steps)
        # Training on a batch, with its backward pass, takes more than twice as long as predicting one.
        batches = int(2 * SHARE * steps / epochs)
    windows = min(windows, max(batches, 1) * arguments.batch_size)
    return {"epochs": epochs, "num_batches": round(steps / epochs), "windows": windows}


def epoch_windows(text: TokenText, arguments: argparse.Namespace) -> int:
    """The number of windows validated after an epoch, if there is enough time."""
    window_bytes = arguments.sequence_length * len(text.corpus.validation) / len(text.validation)
    return -int(-EPOCH_VALIDATION_BYTES // window_bytes)


def count_steps(model: LanguageModel, text: TokenText, arguments: argparse.Namespace, batches: int) -> tuple[int, int]:
    """The steps, and batches of validation up to `batches`, that fit into the time; found by a short training."""
    started = time.perf_counter()
    seconds = 60 * arguments.minutes
    pace = pace_of(model, text, arguments)
    batches = min(batches, max(int(SHARE * seconds / EPOCHS / pace.validation), 1))
    pace = dataclasses.replace(pace, validation=batches * pace.validation)
    spent = time.perf_counter() - started
    steps = pace.steps_within(seconds - spent, EPOCHS)
    print_rows({"pace": f"{1000 * pace.step:.0f} ms per step: enough time for {steps:,} steps"})
    print_rows(describe_division(spent + pace.start, steps * pace.step, EPOCHS * pace.validation))
    return steps, batches


def pace_of(model: LanguageModel, text: TokenText, arguments: argparse.Namespace) -> Pace:
    """The pace of a model in training, with a validation of one batch."""
    shape = arguments.sequence_length, arguments.batch_size
    timed = RandomWindows(text.train, *shape, num_batches=TIMED_STEPS, seed=arguments.seed)
    held_out = text.held_out(arguments, TIMED_STEPS * arguments.batch_size)
    compile_for_training(model, 0.0, text)
    pace = measure_pace(model, timed, held_out)
    return dataclasses.replace(pace, validation=pace.validation / held_out.num_batches)


def describe_division(compiling: float, training: float, validating: float) -> dict[str, str]:
    """What `--minutes` goes to, in seconds, and how to have more of it for training if that gets less than half."""
    rows = {"of that time": f"{compiling:.0f} s compiling, {training:.0f} s training, {validating:.0f} s validating"}
    if training < compiling + validating:
        rows["short"] = "less than half is training: give more --minutes, or a smaller --width or --layers"
    return rows


def last_held_out(
    model: LanguageModel, text: TokenText, arguments: argparse.Namespace, few: HeldOutWindows, seconds: float
) -> HeldOutWindows:
    """The windows of the last validation: at least `few`, or as many as its share of `seconds` of training allows."""
    started = time.perf_counter()
    model.evaluate(few, verbose=0)
    for_one = (time.perf_counter() - started) / few.num_batches
    batches = int(max(SHARE * seconds, LEAST_SECONDS) / for_one)
    return text.held_out(arguments, max(batches, few.num_batches) * arguments.batch_size)


class Outlook(keras.callbacks.Callback):
    """Print before each epoch but the first how long the remaining `steps` take, and a sample of so many bytes."""

    def __init__(self, steps: int, sample: Callable[[int], str]):
        super().__init__()
        self._steps, self._sample = steps, sample
        self._done, self._first_ended = 0, 0.0

    def on_train_batch_end(self, batch, logs=None):
        """Count a step; the first one compiles and is not timed."""
        self._done += 1
        if self._done == 1:
            self._first_ended = time.perf_counter()

    def on_epoch_begin(self, epoch, logs=None):
        """Print one line, no longer than the terminal is wide."""
        if self._done < 2:
            return
        for_one = (time.perf_counter() - self._first_ended) / (self._done - 1)
        line = f"about {describe_time(for_one * (self._steps - self._done))}"
        # A label has 12 columns, and a space after it.
        room = shutil.get_terminal_size().columns - 13 - len(f"{line}, writing ")
        written = self._sample(room) if room >= 20 else ""
        if written:
            # On one line, and without characters that move the cursor.
            quoted = repr(written)
            line += f", writing {quoted if len(quoted) <= room else f'{quoted[: room - 3]}...'}"
        print_rows({"left": line})


def describe_time(seconds: float) -> str:
    """A duration such as `3 min 5 s`."""
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def plan_run(
    saved: ResumableRun, model: LanguageModel, text: TokenText, arguments: argparse.Namespace
) -> HeldOutWindows:
    """Plan the steps of a new run or recall those of a resumed one; return the windows validated after each epoch."""
    if saved.is_begun:
        steps = saved.notes["epochs"] * saved.notes["num_batches"]
        print_rows({"resuming": f"after {saved.step:,} of {steps:,} steps"})
    else:
        saved.notes = as_notes(arguments, text.corpus, make_plan(model, text, arguments))
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
    """Train as planned on windows at random offsets, or resume; as `ResumableRun.fit`."""
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


def describe_run(
    arguments: argparse.Namespace, text: TokenText, compressors: Mapping[str, float], model: LanguageModel
) -> dict[str, str]:
    """The machine, the text and the model."""
    dtype = "bfloat16" if arguments.mixed_precision else "float32"
    facts = current_facts(None, dtype)
    asked = requests()
    kernels = training_kernels(model, arguments.batch_size, arguments.sequence_length)
    idle = unused(asked, kernels)
    unit, tokens = "bytes", {}
    if not text.is_bytes:
        each = len(text.corpus.validation) / len(text.validation)
        size = f"{text.tokenizer.vocabulary_size:,}, {each:.2f} bytes each in the held-out text"
        unit, tokens = "tokens", {"tokens": size}
    return {
        "backend": f"{facts.backend} on {facts.device}, computing in {dtype}",
        "kernels": ", ".join(f"{op} by {kernel}" for op, kernel in kernels.items()) or "none",
        **({} if idle is None else {"not used": idle}),
        **describe_text(text, compressors),
        **tokens,
        "model": f"{family(arguments)} with {model.count_params():,} parameters",
        "batch": f"{arguments.batch_size} windows of {arguments.sequence_length} {unit}",
    }


def describe_result(result: Mapping[str, float], folder: Path, is_drawn: bool) -> dict[str, str]:
    """The quality, the speed, and the files."""
    tokens = result["tokens_per_second"]
    also = "" if tokens == result["bytes_per_second"] else f" ({tokens:,.0f} tokens)"
    curve = "loss.png" if is_drawn else "no loss.png, which needs matplotlib: pip install 'keras-griffin[viz]'"
    return {
        "validation": f"{result['bits_per_byte']:.3f} bits per byte",
        "to beat": versus({name: result[name] for name in ("zlib", "lzma")}),
        "speed": f"{result['bytes_per_second']:,.0f} bytes{also} per second in training",
        "time": f"{describe_time(result['seconds'])} in total",
        "saved": f"{folder / 'model.keras'}, with log.csv, result.json and {curve}",
        "next": command("generate", "--model", str(folder)),
    }


def describe_stop(checkpoint: BestCheckpoint) -> str:
    """The message after Ctrl-C."""
    if not checkpoint.is_saved:
        earlier = f" {checkpoint.path} is from an earlier run." if checkpoint.path.exists() else ""
        return f"Stopped before the first model was saved.{earlier}"
    return f"Stopped. The best model so far, {checkpoint.best:.3f} bits per byte, is in {checkpoint.path}"


def versions(tokenizer) -> dict[str, str | None]:
    """The versions of Python and of the packages that the model needs; None without metadata, as in a checkout."""
    names = ["keras", "keras_griffin", "numpy", keras.backend.backend()]
    names += [name for cls, name in _TOKENIZERS.items() if isinstance(tokenizer, cls)]
    found = {name: next((each.version for each in metadata.distributions(name=name)), None) for name in names}
    return {"python": platform.python_version(), **found}
