"""How `train` divides its time between learning and being judged.

The validations after the epochs take together at most a tenth of the time, and so does the last one, of all held-out
text if that is enough for it.
"""

import argparse
import dataclasses
import time
from typing import NamedTuple

from keras_griffin.commands.train_model import compile_for_training
from keras_griffin.commands.train_report import print_rows
from keras_griffin.commands.train_text import TokenText
from keras_griffin.models import LanguageModel
from keras_griffin.training import HeldOutWindows, RandomWindows, measure_pace

#: How often a run is validated, and on how many bytes at most; the last validation takes all that it has time for.
EPOCHS = 10
EPOCH_VALIDATION_BYTES = 32768
#: The share of the time that validations have, and the seconds that the last one has however short the run was.
SHARE = 0.1
LEAST_SECONDS = 5.0
#: The steps that are timed to tell how many fit into the minutes asked for, and the batches of validation.
TIMED_STEPS = 8


class Plan(NamedTuple):
    """What a run is to be.

    Args:
        epochs: how many.
        num_batches: of each epoch.
        windows: of held-out text that are predicted after each epoch.
    """

    epochs: int
    num_batches: int
    windows: int


def make_plan(model: LanguageModel, text: TokenText, arguments: argparse.Namespace) -> Plan:
    """The time, or the steps, that were asked for, in epochs.

    Minutes are measured. Steps are counted, so that they mean the same run on every machine: to predict a batch takes
    less than half the time of learning from it, which is that and a backward pass.
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
    """The windows that are validated after an epoch, where there is time enough."""
    window_bytes = arguments.sequence_length * len(text.corpus.validation) / len(text.validation)
    return -int(-EPOCH_VALIDATION_BYTES // window_bytes)


def count_steps(model: LanguageModel, text: TokenText, arguments: argparse.Namespace, batches: int) -> tuple[int, int]:
    """The steps for which the time is enough, and the batches of validation, at most those given.

    Both are found by training, and validating, for a moment with a learning rate of zero.
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
    steps = pace.steps_within(seconds - (time.perf_counter() - started), EPOCHS)
    print_rows({"pace": f"{1000 * pace.step:.0f} ms a step: the time is enough for {steps:,} steps"})
    return steps, batches


def last_held_out(
    model: LanguageModel, text: TokenText, arguments: argparse.Namespace, few: HeldOutWindows, seconds: float
) -> HeldOutWindows:
    """What the last validation predicts: all, if that takes no more than its share of the time.

    Args:
        model: compiled.
        text: what is held out of it is predicted.
        arguments: of the command.
        few: windows on which the model is timed; there will be no fewer.
        seconds: how long the run has trained.
    """
    started = time.perf_counter()
    model.evaluate(few, verbose=0)
    for_one = (time.perf_counter() - started) / few.num_batches
    batches = int(max(SHARE * seconds, LEAST_SECONDS) / for_one)
    return text.held_out(arguments, max(batches, few.num_batches) * arguments.batch_size)
