"""Tokenize parts of a text side by side, each in a process of its own, which writes one file of a folder."""

import argparse
import multiprocessing
import signal
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path

from keras_griffin.commands.shared.errors import CommandError

#: How often a process tells how much it has read, in seconds.
_PERIOD = 0.2
NO_TEXT = "tokenize: FILES must contain text. Got only empty files."


def write_shards(
    write: Callable, parts: Sequence, arguments: argparse.Namespace, add: Callable[[int, int], None], noted
) -> None:
    """Replace the folder of `--output` by a file for each part, or by nothing after an error or a signal.

    Each process calls `write(path, part, arguments, add)`, a function of a module.
    """
    from keras_griffin.files.atomic import atomic_folder
    from keras_griffin.files.durable import sync_folder
    from keras_griffin.training.data.token_file import TokenFile, shard_name, shard_names

    output = Path(arguments.output)
    replaced = shard_names(output) if output.is_dir() else []
    with atomic_folder(output, replaced, function_name="tokenize") as folder:
        paths = [folder / shard_name(number, len(parts)) for number in range(len(parts))]
        _run_all([(write, path, part, arguments) for path, part in zip(paths, parts, strict=True)], add, noted)
        if not len(TokenFile(folder)):
            raise CommandError(NO_TEXT)
        sync_folder(folder)
    sync_folder(output.resolve().parent)


def _run_all(tasks: list[tuple], add, noted) -> None:
    """Run `_write_one` for each task in its own process; the first error, or a signal, ends all."""
    # A fork of a process that has threads may hang.
    context = multiprocessing.get_context("spawn")
    processes = {}
    try:
        for task in tasks:
            reader, writer = context.Pipe(duplex=False)
            processes[reader] = context.Process(target=_write_one, args=(Reports(writer), *task))
            processes[reader].start()
            writer.close()
        running = dict(processes)
        while running:
            wait(list(running), _PERIOD)
            for reader in [each for each in running if each.poll()]:
                try:
                    told = reader.recv()
                except EOFError:
                    process = running.pop(reader)
                    process.join()
                    if process.exitcode:
                        raise CommandError(
                            "tokenize: each process must finish its file; fewer --shards need less memory. "
                            f"Got exit code {process.exitcode}."
                        ) from None
                    continue
                if isinstance(told, str):
                    raise CommandError(told)
                add(*told)
            if noted.received is not None:
                noted.end()
    finally:
        for process in processes.values():
            process.terminate()
            process.join()


class Reports:
    """What a process tells the one that started it: how much it has read, and its error."""

    def __init__(self, writer: Connection):
        self._writer = writer
        self._done = self._of_text = 0
        self._sent = 0.0

    def add(self, num_bytes: int, of_text: int) -> None:
        """Count bytes read, and how many of them are in documents."""
        self._done += num_bytes
        self._of_text += of_text
        if time.monotonic() - self._sent >= _PERIOD:
            self.send()

    def send(self, error: str | None = None) -> None:
        """Send the counts, or the error."""
        self._sent = time.monotonic()
        self._writer.send(error or (self._done, self._of_text))
        self._done = self._of_text = 0


def _write_one(reports: Reports, write: Callable, path: Path, part, arguments: argparse.Namespace) -> None:
    """Write one file."""
    # Ctrl-C reaches every process of a terminal; the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        write(path, part, arguments, reports.add)
        reports.send()
    except CommandError as error:
        reports.send(str(error))
    except BrokenPipeError:
        # The first process was killed.
        return
