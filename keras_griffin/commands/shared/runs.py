"""The folders of runs of `train`: their files, and `--resume`."""

import argparse
import json
import os
import shutil
import sys
import time
import warnings
import zlib
from pathlib import Path

import keras

from keras_griffin.commands.shared.errors import CommandError, refusals, refusals_of_the_disk
from keras_griffin.commands.shared.options import split_given
from keras_griffin.commands.shared.outputs import check_outside_text
from keras_griffin.commands.shared.terminal import bytes_of_files, command
from keras_griffin.tasks.text import Corpus
from keras_griffin.training import ResumableRun
from keras_griffin.training.resuming.run_folder import RunFolder

#: The folder, within that of an unfinished run, from which it resumes.
CHECKPOINTS = "checkpoints"
#: The folder with the run's tokenizer, unless tokens are bytes.
TOKENIZER = "tokenizer"
#: The run's other files; `PROMPT` holds what the samples of its model continue.
MODEL, LOG, PICTURE, RESULT, PROMPT = "model.keras", "log.csv", "loss.png", "result.json", "prompt.txt"
#: Arguments that may differ when a run resumes.
_MAY_DIFFER = {"command", "resume", "output"}


def open_run(arguments: argparse.Namespace) -> tuple[argparse.Namespace, ResumableRun | None]:
    """The arguments, and the run to resume, if they match it; None for a new run."""
    everything, given = split_given(arguments)
    if everything["resume"] is None:
        return argparse.Namespace(**everything), None
    folder = Path(everything["resume"])
    run = saved_run(folder)
    if not everything["resume"] or not run.is_begun:
        why = "which is finished" if (folder / RESULT).exists() else "which holds none"
        raise CommandError(
            f"train: --resume must name the folder of an interrupted run. Got {everything['resume']!r}, {why}."
        )
    backend = run.notes["backend"]
    if backend != keras.backend.backend():
        raise CommandError(
            "train: --resume must keep the backend that the run began with; set KERAS_BACKEND. "
            f"Got {keras.backend.backend()} instead of {backend}."
        )
    began = run.notes["arguments"]
    changed = [
        f"{_option(name)} {_shown(value)} instead of {_shown(began.get(name))}"
        for name, value in _with_absolute_paths(given).items()
        if name not in _MAY_DIFFER and value != began.get(name)
    ]
    if given.get("output") is not None and Path(given["output"]).resolve() != folder.resolve():
        changed.append(f"--output {given['output']} with --resume {everything['resume']}")
    if changed:
        raise CommandError(f"train: --resume must keep the options that the run began with. Got {', '.join(changed)}.")
    run.save_every = began["save_every"]
    kept = {"command": everything.get("command"), "resume": everything["resume"], "output": str(folder)}
    return argparse.Namespace(**{**everything, **began, **kept}), run


def saved_run(folder: Path) -> ResumableRun:
    """The run saved in a folder; damaged files are reported in one line."""
    with warnings.catch_warnings(record=True) as caught, refusals():
        warnings.simplefilter("always")
        run = ResumableRun(folder / CHECKPOINTS)
    for warning in caught:
        print(warning.message, file=sys.stderr)
    return run


def holds_run(folder: Path) -> bool:
    """Whether a folder is a run of `train`: it has a log, and a model, a result or checkpoints."""
    return (folder / LOG).is_file() and any((folder / name).exists() for name in (MODEL, RESULT, CHECKPOINTS))


def family(arguments: argparse.Namespace) -> str:
    """The family's name, or the pattern's, for reports and folders."""
    return arguments.model if arguments.pattern is None else "-".join(arguments.pattern)


def output_folder(arguments: argparse.Namespace) -> Path:
    """The folder of the run, which must not contain or overwrite the text, nor an earlier run."""
    if arguments.output == "":
        raise CommandError("train: --output must name a folder. Got ''.")
    folder = Path(arguments.output or f"runs/{family(arguments)}-{time.strftime('%Y%m%d-%H%M%S')}")
    default = "" if arguments.output else ", the default"
    check_outside_text("train", folder, arguments.files, f"{str(folder)!r}{default}")
    for file in map(Path, map(os.path.realpath, arguments.files)):
        if file.name in (MODEL, LOG, PICTURE, RESULT, PROMPT) and file.parent == Path(os.path.realpath(folder)):
            raise CommandError(
                "train: --output must be a folder whose files are not part of the text. "
                f"Got {str(folder)!r} with {file.name}."
            )
    if not arguments.overwrite:
        check_holds_no_run(folder)
    return folder


def make_folder(folder: Path) -> None:
    """Create the folder of the run, or refuse one that can't be written to."""
    rule = "--output must be a folder that can be created and written to"
    with refusals_of_the_disk("train", rule, str(folder)):
        folder.mkdir(parents=True, exist_ok=True)
        # Opened to append: an earlier run loses nothing before this one begins.
        (folder / LOG).open("ab").close()


def check_holds_no_run(folder: Path) -> None:
    """Refuse to train over an earlier run; the message says how good its model is."""
    if saved_run(folder).is_begun:
        raise CommandError(
            "train: --output must be a folder without an interrupted run; --resume continues it, --overwrite replaces "
            f"it. Got {str(folder)!r}, which has one."
        )
    newest = next((folder / name for name in (RESULT, MODEL) if (folder / name).exists()), None)
    if newest is not None:
        day = time.strftime("%Y-%m-%d", time.localtime(newest.stat().st_mtime))
        raise CommandError(
            "train: --output must be a folder without an earlier run; --overwrite replaces it. "
            f"Got {str(folder)!r}, with {_quality(folder / RESULT)} of {day}."
        )


def remove_run(folder: Path) -> None:
    """Remove an earlier run from a folder, except its model and its log, which the first epoch replaces."""
    with refusals():
        RunFolder(folder / CHECKPOINTS, keep=1).remove()
    for name in (CHECKPOINTS, TOKENIZER):
        if (folder / name).exists():
            shutil.rmtree(folder / name)
    for name in (RESULT, PICTURE, PROMPT):
        (folder / name).unlink(missing_ok=True)


def _quality(result: Path) -> str:
    """The result of a run in a few words."""
    try:
        found = json.loads(result.read_text("utf-8"))
        steps = f" after {found['steps']:,} steps" if "steps" in found else ""
        return f"a model of {found['bits_per_byte']:.3f} bits per byte{steps}"
    except (OSError, ValueError, KeyError, TypeError):
        return "a model whose quality is unknown,"


def as_notes(arguments: argparse.Namespace, corpus: Corpus, plan: dict) -> dict:
    """What a run needs in order to resume, from any current folder."""
    return {
        "arguments": _with_absolute_paths(vars(arguments)),
        "backend": keras.backend.backend(),
        "text": _describe_text(corpus),
        **plan,
    }


def check_text(run: ResumableRun, corpus: Corpus) -> None:
    """Check that the text is the one that the run began with."""
    then, now = run.notes["text"], _describe_text(corpus)
    if then == now:
        return
    old, new = (bytes_of_files(text["bytes"], text["files"]) for text in (then, now))
    received = f"{new}, the same size, but different content" if old == new else f"{new} instead of {old}"
    raise CommandError(f"train: --resume must keep the text that the run began with. Got {received}.")


def _with_absolute_paths(arguments: dict) -> dict:
    """The arguments with absolute paths."""
    absolute = dict(arguments)
    if "files" in absolute:
        absolute["files"] = [os.path.abspath(path) for path in absolute["files"]]
    if absolute.get("tokenizer"):
        absolute["tokenizer"] = os.path.abspath(absolute["tokenizer"])
    return absolute


def _describe_text(corpus):
    files = {*corpus.train_files, *corpus.validation_files}
    crc32 = zlib.crc32(corpus.validation, zlib.crc32(corpus.train))
    return {"bytes": len(corpus.train) + len(corpus.validation), "files": len(files), "crc32": crc32}


def describe_resume(folder: Path) -> str:
    """The command that resumes a run."""
    return f"Resume with: {command('train', '--resume', str(folder))}"


def _option(name) -> str:
    return "FILES" if name == "files" else f"--{name.replace('_', '-')}"


def _shown(value) -> str:
    return " ".join(value) if isinstance(value, list) else str(value)
