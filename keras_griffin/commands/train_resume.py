"""`train --resume`: the run in a folder, and the arguments with which it began."""

import argparse
import os
import shlex
import sys
import warnings
import zlib
from pathlib import Path

from keras_griffin.commands.errors import CommandError, refusals
from keras_griffin.commands.given import split_given
from keras_griffin.tasks.text import Corpus
from keras_griffin.training import ResumableRun

#: In the folder of a run, what is there as long as it is not finished.
CHECKPOINTS = "checkpoints"
#: The folder with the tokenizer of its tokens, where that is one of its own.
TOKENIZER = "tokenizer"
#: What else is there, as soon as it is written.
MODEL, LOG, PICTURE, RESULT = "model.keras", "log.csv", "loss.png", "result.json"
#: With what a run began whose notes, of an earlier version, don't say.
_EARLIER = {"include_binary": True}
#: Given as they stand, or about this process.
_NOT_OF_THE_RUN = {"command", "resume", "output"}


def open_run(arguments: argparse.Namespace) -> tuple[argparse.Namespace, ResumableRun | None]:
    """The arguments, and the run that is to go on; None where another one begins.

    Raises:
        CommandError: the folder holds no run that can go on, or what was given is not what the run began with.
    """
    everything, given = split_given(arguments)
    if everything["resume"] is None:
        return argparse.Namespace(**everything), None
    folder = Path(everything["resume"])
    run = saved_run(folder)
    if not everything["resume"] or not run.is_begun:
        why = "which is finished" if (folder / RESULT).exists() else "where there is none"
        raise CommandError(
            f"train: --resume must name the folder of a run that was cut off. Got {everything['resume']!r}, {why}."
        )
    began = {**_EARLIER, **run.notes["arguments"]}
    changed = [
        f"{_option(name)} {_shown(value)} where it was {_shown(began.get(name))}"
        for name, value in _with_whole_paths(given).items()
        if name not in _NOT_OF_THE_RUN and value != began.get(name)
    ]
    if given.get("output") is not None and Path(given["output"]).resolve() != folder.resolve():
        changed.append(f"--output {given['output']} beside --resume {everything['resume']}")
    if changed:
        raise CommandError(f"train: --resume must go on with what the run began with. Got {', '.join(changed)}.")
    run.save_every = began["save_every"]
    kept = {"command": everything.get("command"), "resume": everything["resume"], "output": str(folder)}
    return argparse.Namespace(**{**everything, **began, **kept}), run


def saved_run(folder: Path) -> ResumableRun:
    """What a run has saved in its folder; that some of it is damaged is said in a line."""
    with warnings.catch_warnings(record=True) as caught, refusals():
        warnings.simplefilter("always")
        run = ResumableRun(folder / CHECKPOINTS)
    for warning in caught:
        print(warning.message, file=sys.stderr)
    return run


def holds_run(folder: Path) -> bool:
    """Whether `train` has filled a folder: it has a log, and a model, a result or what is to go on."""
    return (folder / LOG).is_file() and any((folder / name).exists() for name in (MODEL, RESULT, CHECKPOINTS))


def as_notes(arguments: argparse.Namespace, corpus: Corpus, epochs: int, num_batches: int, windows: int) -> dict:
    """What a run must find again, whatever the folder it goes on from."""
    return {
        "arguments": _with_whole_paths(vars(arguments)),
        "text": _describe_text(corpus),
        "epochs": epochs,
        "num_batches": num_batches,
        "windows": windows,
    }


def check_text(run: ResumableRun, corpus: Corpus) -> None:
    """Refuse to go on with another text than the one that the run began with.

    Raises:
        CommandError: it is another, in files, bytes or content.
    """
    then, now = run.notes.get("text"), _describe_text(corpus)
    # Of a run of an earlier version the library knows whether it is the same.
    if then in (None, now):
        return
    if {**now, "crc32": None} == {**then, "crc32": None}:
        received = f"{_text_size(now)}, as it was, but with another content"
    else:
        received = f"{_text_size(now)} where it was {_text_size(then)}"
    raise CommandError(f"train: --resume must go on with the text that the run began with. Got {received}.")


def _with_whole_paths(arguments: dict) -> dict:
    """The same arguments, whatever the folder at hand will be."""
    whole = dict(arguments)
    if "files" in whole:
        whole["files"] = [os.path.abspath(path) for path in whole["files"]]
    if whole.get("tokenizer"):
        whole["tokenizer"] = os.path.abspath(whole["tokenizer"])
    return whole


def _describe_text(corpus):
    files = {*corpus.train_files, *corpus.validation_files}
    crc32 = zlib.crc32(corpus.validation, zlib.crc32(corpus.train))
    return {"bytes": len(corpus.train) + len(corpus.validation), "files": len(files), "crc32": crc32}


def _text_size(text):
    return f"{text['bytes']:,} bytes of {text['files']:,} file{'s' if text['files'] > 1 else ''}"


def describe_going_on(folder: Path) -> str:
    """The command that goes on with a run."""
    return f"Go on with: python -m keras_griffin train --resume {shlex.quote(str(folder))}"


def _option(name) -> str:
    return "FILES" if name == "files" else f"--{name.replace('_', '-')}"


def _shown(value) -> str:
    return " ".join(value) if isinstance(value, list) else str(value)
