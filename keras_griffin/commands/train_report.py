"""What `train` says before and after."""

import argparse
from collections.abc import Mapping
from pathlib import Path

from keras_griffin.models import LanguageModel
from keras_griffin.ops.implementation import current_facts, explain
from keras_griffin.tasks.text import Corpus
from keras_griffin.training import BestCheckpoint


def print_rows(rows: Mapping[str, str]) -> None:
    """Print labels and texts in two columns."""
    for label, text in rows.items():
        print(f"{label:<12} {text}", flush=True)


def describe_run(
    arguments: argparse.Namespace,
    corpus: Corpus,
    compressors: Mapping[str, float],
    model: LanguageModel,
    bytes_per_validation: int,
) -> dict[str, str]:
    """The machine, the text and the model."""
    dtype = "bfloat16" if arguments.mixed_precision else "float32"
    facts = current_facts(None, dtype)
    return {
        "backend": f"{facts.backend} on {facts.device}, computing in {dtype}",
        "kernels": ", ".join(f"{op} by {kernel}" for op, kernel in chosen_kernels(arguments, model, dtype).items()),
        "text": corpus.name,
        "to train on": _size(corpus.train, corpus.train_files),
        "held out": f"{_size(corpus.validation, corpus.validation_files)}, for which {_versus(compressors)}",
        "model": f"{arguments.model} with {model.count_params():,} parameters",
        "batch": f"{arguments.batch_size} windows of {arguments.sequence_length} bytes",
        "val_bits": f"bits per byte on {bytes_per_validation:,} of the held-out bytes, after each epoch",
    }


def chosen_kernels(arguments: argparse.Namespace, model: LanguageModel, dtype: str) -> dict[str, str]:
    """The implementation of each op that the model uses, for the shapes of a training batch."""
    config = model.config
    rows = (arguments.batch_size, arguments.sequence_length)
    # The recurrence is in float32 whatever the compute dtype.
    uses = {
        "recurrent": ("linear_scan", (*rows, config.recurrence_width), "float32"),
        "local_mqa": ("local_attention", (*rows, config.num_heads, config.head_dim), dtype),
    }
    chosen = [uses[mixer] for mixer in dict.fromkeys(config.mixer_names) if mixer in uses]
    return {op: explain(op, shape, op_dtype).chosen for op, shape, op_dtype in chosen}


def describe_result(result: Mapping[str, float], corpus: Corpus, folder: Path, is_drawn: bool) -> dict[str, str]:
    """How well it predicts, how fast it was, and where everything is."""
    minutes, seconds = divmod(round(result["seconds"]), 60)
    curve = "loss.png" if is_drawn else "no loss.png, which needs matplotlib: pip install 'keras-griffin[viz]'"
    return {
        "validation": f"{result['bits_per_byte']:.3f} bits per byte, all {len(corpus.validation):,} held-out bytes; "
        + _versus({name: result[name] for name in ("zlib", "lzma")}),
        "speed": f"{result['bytes_per_second']:,.0f} bytes/s in training; {minutes} min {seconds} s in all",
        "saved": f"{folder / 'model.keras'}, with log.csv, result.json and {curve}",
    }


def describe_stop(checkpoint: BestCheckpoint) -> str:
    """What Ctrl-C leaves."""
    if not checkpoint.is_saved:
        return "Stopped before there was a model to keep."
    return f"Stopped. The best model so far, {checkpoint.best:.3f} bits per byte, is in {checkpoint.path}"


def _size(data, files) -> str:
    return f"{len(data):,} bytes of {len(files):,} file{'s' if len(files) > 1 else ''}"


def _versus(compressors: Mapping[str, float]) -> str:
    """Such as: zlib needs 1.862 and lzma 1.463 bits per byte."""
    zlib, lzma = compressors["zlib"], compressors["lzma"]
    return f"zlib needs {zlib:.3f} and lzma {lzma:.3f} bits per byte"
