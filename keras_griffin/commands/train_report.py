"""What `train` prints before and after training."""

import argparse
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import keras

from keras_griffin.commands.kernels import requests, training_kernels, unused
from keras_griffin.commands.terminal import command
from keras_griffin.commands.train_model import family
from keras_griffin.commands.train_text import TokenText
from keras_griffin.models import LanguageModel
from keras_griffin.ops.implementation import current_facts
from keras_griffin.training import BestCheckpoint, HeldOutWindows


def print_rows(rows: Mapping[str, str]) -> None:
    """Print labels and texts in two columns."""
    for label, text in rows.items():
        print(f"{label:<12} {text}", flush=True)


class Outlook(keras.callbacks.Callback):
    """Print before each epoch but the first how long the training still takes, and how the model writes.

    Args:
        steps: those that this process will make.
        sample: takes a number of bytes; returns about as much text of the model, or an empty text.
    """

    def __init__(self, steps: int, sample: Callable[[int], str]):
        super().__init__()
        self._steps, self._sample = steps, sample
        self._done, self._first_ended = 0, 0.0

    def on_train_batch_end(self, batch, logs=None):
        """Count a step; the first, which compiles, is no measure of the others."""
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


def describe_run(
    arguments: argparse.Namespace,
    text: TokenText,
    compressors: Mapping[str, float],
    model: LanguageModel,
) -> dict[str, str]:
    """The machine, the text and the model."""
    dtype = "bfloat16" if arguments.mixed_precision else "float32"
    facts = current_facts(None, dtype)
    asked = requests()
    kernels = training_kernels(model, arguments.batch_size, arguments.sequence_length)
    idle = unused(asked, kernels)
    return {
        "backend": f"{facts.backend} on {facts.device}, computing in {dtype}",
        "kernels": ", ".join(f"{op} by {kernel}" for op, kernel in kernels.items()) or "none",
        **({} if idle is None else {"not used": idle}),
        **describe_text(text, compressors),
        **({} if text.is_bytes else {"tokens": _tokens(text)}),
        "model": f"{family(arguments)} with {model.count_params():,} parameters",
        "batch": f"{arguments.batch_size} windows of {arguments.sequence_length} "
        f"{'bytes' if text.is_bytes else 'tokens'}",
    }


def describe_text(text: TokenText, compressors: Mapping[str, float]) -> dict[str, str]:
    """The text, its two parts, and what compressors need for the held-out one."""
    corpus = text.corpus
    return {
        "text": corpus.name,
        **({"left out": corpus.left_out} if corpus.left_out else {}),
        "to train on": _size(corpus.train, corpus.train_files),
        "held out": _size(corpus.validation, corpus.validation_files),
        "to beat": _versus(compressors),
    }


def describe_validation(text: TokenText, held_out: HeldOutWindows) -> str:
    """How much of the held-out text a model is validated on."""
    num_bytes = len(text.corpus.validation)
    # The first token has no context, so it is not predicted.
    if held_out.num_predictions == len(text.validation) - 1:
        return f"all {num_bytes:,} held-out bytes"
    return f"{text.predicted_bytes(held_out):,} of the {num_bytes:,} held-out bytes, evenly spread"


def describe_result(result: Mapping[str, float], folder: Path, is_drawn: bool) -> dict[str, str]:
    """The quality, the speed, and the files."""
    tokens = result["tokens_per_second"]
    also = "" if tokens == result["bytes_per_second"] else f" ({tokens:,.0f} tokens)"
    curve = "loss.png" if is_drawn else "no loss.png, which needs matplotlib: pip install 'keras-griffin[viz]'"
    return {
        "validation": f"{result['bits_per_byte']:.3f} bits per byte",
        "to beat": _versus({name: result[name] for name in ("zlib", "lzma")}),
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


def _tokens(text) -> str:
    each = len(text.corpus.validation) / len(text.validation)
    return f"{text.tokenizer.vocabulary_size:,}, {each:.2f} bytes each in the held-out text"


def _size(data, files) -> str:
    return f"{len(data):,} bytes of {len(files):,} file{'s' if len(files) > 1 else ''}"


def _versus(compressors: Mapping[str, float]) -> str:
    """A text such as: zlib needs 1.862 and lzma 1.463 bits per byte."""
    zlib, lzma = compressors["zlib"], compressors["lzma"]
    return f"zlib needs {zlib:.3f} and lzma {lzma:.3f} bits per byte"
