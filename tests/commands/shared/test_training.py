from argparse import Namespace
from types import SimpleNamespace

import numpy as np
import pytest

from keras_griffin.commands.shared import training as train_time
from keras_griffin.commands.shared.text import TokenText
from keras_griffin.commands.shared.training import (
    Plan,
    count_steps,
    describe_division,
    epoch_windows,
    make_plan,
)
from keras_griffin.tasks.text import Corpus
from keras_griffin.tokenizers import ByteTokenizer
from keras_griffin.training.pace import Pace

pytestmark = pytest.mark.any_backend

DATA = np.zeros(400_000, "uint8")
TEXT = TokenText(Corpus("", DATA, DATA, ("a",), ("a",)), ByteTokenizer(), DATA, DATA, np.ones(256, "int32"))


def options(**others):
    return Namespace(**{"sequence_length": 256, "batch_size": 8, "seed": 0, "steps": None, "minutes": 10.0, **others})


@pytest.fixture
def pace(monkeypatch):
    """Have a step and a validation take so many seconds, and nothing else."""

    def take(step, batch_of_validation):
        def measure(model, timed, held_out):
            return Pace(start=0.0, step=step, validation=batch_of_validation * held_out.num_batches)

        monkeypatch.setattr(train_time, "measure_pace", measure)
        monkeypatch.setattr(train_time, "compile_for_training", lambda *arguments: None)
        monkeypatch.setattr(train_time, "time", SimpleNamespace(perf_counter=lambda: 0.0))

    return take


def test_epochs_are_validated_on_as_many_bytes_whatever_the_tokens_are():
    assert epoch_windows(TEXT, options()) == 128
    tokens = TokenText(TEXT.corpus, TEXT.tokenizer, DATA[:100_000], DATA[:100_000], np.full(256, 4))
    assert epoch_windows(tokens, options()) == 32


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (1, Plan(1, 1, 8)),
        (7, Plan(7, 1, 8)),
        (203, Plan(10, 20, 32)),
        (10_000, Plan(10, 1000, 128)),
    ],
)
def test_of_steps_a_tenth_of_the_time_is_validation(steps, expected):
    """A batch of it counts as half a step."""
    assert make_plan(None, TEXT, options(steps=steps)) == expected


@pytest.mark.parametrize(
    ("batch_of_validation", "batches", "steps"),
    [
        (0.1, 16, 584),
        # All would take 320 of 600 seconds.
        (2.0, 3, 540),
        # One is more than there is time for.
        (20.0, 1, 400),
    ],
)
def test_of_minutes_a_tenth_is_validation(pace, capsys, batch_of_validation, batches, steps):
    pace(step=1.0, batch_of_validation=batch_of_validation)
    assert count_steps(None, TEXT, options(), 16) == (steps, batches)
    assert make_plan(None, TEXT, options()) == Plan(10, steps // 10, 8 * batches)
    printed = capsys.readouterr().out
    assert f"pace         1000 ms per step: enough time for {steps:,} steps\n" in printed
    validating = round(10 * batches * batch_of_validation)
    assert f"of that time 0 s compiling, {steps} s training, {validating} s validating\n" in printed
    assert "short" not in printed


def test_a_time_that_is_mostly_not_training_is_told():
    assert "short" not in describe_division(10.0, 15.0, 5.0)
    assert describe_division(50.0, 9.0, 1.0) == {
        "of that time": "50 s compiling, 9 s training, 1 s validating",
        "short": "less than half is training: give more --minutes, or a smaller --width or --layers",
    }
