"""How `train` divides its time between training and validation.

Together, the validations after the epochs take at most a tenth of the time. So does the last one, which covers the
whole held-out text if that time is enough.
"""

import argparse
import dataclasses
import time
from typing import NamedTuple

from keras_griffin.commands.train_model import compile_for_training
from keras_griffin.commands.train_report import print_rows
from keras_griffin.commands.train_text import TokenText
from keras_griffin.models import LanguageModel
from keras_griffin.training import HeldOutWindows, RandomWindows
from keras_griffin.training.pace import measure_pace

#: How often a run is validated, and on how many bytes at most; the last validation covers as much as its time allows.
EPOCHS = 10
EPOCH_VALIDATION_BYTES = 32768
#: The share of the time for validations, and the seconds that the last one always has, even after a short run.
SHARE = 0.1
LEAST_SECONDS = 5.0
#: The training steps, and validation batches, that are timed to find how many fit into `--minutes`.
TIMED_STEPS = 8


class Plan(NamedTuple):
    """The size of a run.

    Args:
        epochs: how many.
        num_batches: per epoch.
        windows: of held-out text, predicted after each epoch.
    """

    epochs: int
    num_batches: int
    windows: int


def make_plan(model: LanguageModel, text: TokenText, arguments: argparse.Namespace) -> Plan:
    """Divide `--minutes` or `--steps` into epochs.

    With `--minutes`, training and validation are timed. With `--steps`, validation is a fixed share of the steps, so
    that the run is the same on every machine; predicting a batch takes less than half the time of training on it, which
    adds a backward pass.
    """
    windows = epoch_windows(text, arguments)
    if arguments.steps is None:
        steps, batches = count_steps(model, text, arguments, -(-windows // arguments.batch_size))
        epochs = EPOCHS
    else:
        steps = arguments.steps
        epochs = min(EPOCHS, steps)
        batches = int(2 * SHARE * steps / epochs)
    return Plan(epochs, round(steps / epochs), min(windows, max(batches, 1) * arguments.batch_size))


def epoch_windows(text: TokenText, arguments: argparse.Namespace) -> int:
    """The number of windows validated after an epoch, if there is enough time."""
    window_bytes = arguments.sequence_length * len(text.corpus.validation) / len(text.validation)
    return -int(-EPOCH_VALIDATION_BYTES // window_bytes)


def count_steps(model: LanguageModel, text: TokenText, arguments: argparse.Namespace, batches: int) -> tuple[int, int]:
    """The steps that fit into the time, and the batches of validation, at most `batches`; printed.

    Both are found by briefly training, with a learning rate of zero, and validating.
    """
    started = time.perf_counter()
    seconds = 60 * arguments.minutes
    shape = arguments.sequence_length, arguments.batch_size
    timed = RandomWindows(text.train, *shape, num_batches=TIMED_STEPS, seed=arguments.seed)
    held_out = text.held_out(arguments, TIMED_STEPS * arguments.batch_size)
    compile_for_training(model, 0.0, text)
    pace = measure_pace(model, timed, held_out)
    for_one = pace.validation / held_out.num_batches
    batches = min(batches, max(int(SHARE * seconds / EPOCHS / for_one), 1))
    pace = dataclasses.replace(pace, validation=batches * for_one)
    spent = time.perf_counter() - started
    steps = pace.steps_within(seconds - spent, EPOCHS)
    print_rows({"pace": f"{1000 * pace.step:.0f} ms per step: enough time for {steps:,} steps"})
    print_rows(describe_division(spent + pace.start, steps * pace.step, EPOCHS * pace.validation))
    return steps, batches


def describe_division(compiling: float, training: float, validating: float) -> dict[str, str]:
    """What `--minutes` goes to, in seconds, and how to have more of it for training if that gets less than half."""
    rows = {"of that time": f"{compiling:.0f} s compiling, {training:.0f} s training, {validating:.0f} s validating"}
    if training < compiling + validating:
        rows["short"] = "less than half is training: give more --minutes, or a smaller --width or --layers"
    return rows


def last_held_out(
    model: LanguageModel, text: TokenText, arguments: argparse.Namespace, few: HeldOutWindows, seconds: float
) -> HeldOutWindows:
    """The windows of the last validation: all, if they take no more than its share of the time.

    Args:
        model: compiled.
        text: its held-out part is predicted.
        arguments: of the command.
        few: windows on which the model is timed; the result has at least as many.
        seconds: how long the run has trained.
    """
    started = time.perf_counter()
    model.evaluate(few, verbose=0)
    for_one = (time.perf_counter() - started) / few.num_batches
    batches = int(max(SHARE * seconds, LEAST_SECONDS) / for_one)
    return text.held_out(arguments, max(batches, few.num_batches) * arguments.batch_size)
