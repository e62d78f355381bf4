"""A training run that resumes where it was interrupted."""

import contextlib
import os
import signal
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from keras_griffin.checks import COUNT, checked
from keras_griffin.training.data.rest_of_epoch import RestOfEpoch
from keras_griffin.training.interruption import noted_signals
from keras_griffin.training.resuming.processes import all_processes
from keras_griffin.training.resuming.run_course import RunCourse
from keras_griffin.training.resuming.run_description import (
    check_same_run,
    describe_fit,
    describe_run,
    describe_shares,
)
from keras_griffin.training.resuming.run_folder import RunFolder
from keras_griffin.training.resuming.run_state import check_variables
from keras_griffin.training.resuming.shares import (
    check_rows,
    check_same_settings,
    check_same_weights,
    describe_layout,
    gather_snapshot,
    share_facts,
    share_snapshot,
)

#: Options of `fit` that a run sets itself.
_DECIDED = {"batch_size", "initial_epoch", "sample_weight", "shuffle", "steps_per_epoch", "validation_split", "x", "y"}


class ResumableRun:
    """A `fit` that resumes after SIGTERM, SIGKILL or a loss of power at any moment.

    The run is saved in its folder at the start, every `save_every` steps, at the end of each epoch, and on SIGTERM or
    Ctrl-C after the current batch. Started again with the same model, data and settings, it continues with the next
    batch, and ends with the results of an uninterrupted run: weights, losses, metrics, history and logs.

    A file gets its final name only when it is complete and on disk, and its checksums detect any damage; the run then
    resumes from the previous file, with a warning.

    Several processes that train one model, those of PyTorch's process group or of JAX's `keras.distribution`, are one
    run: each calls `fit` with its own rows of the batches. All stop after the same batch, whichever process receives
    the signal, and resume with the same one; process 0 reads and writes the folder.

    Args:
        folder: of the run. It is created when the run begins; while a process trains in it, others are refused.
        save_every: steps between two saves, and the most steps that SIGKILL can cost.
        keep: how many of the latest files to keep; with 2, one may be damaged.
        notes: any JSON-serialisable object, available again when the run resumes.

    Attributes:
        notes: those of the run in the folder; for a new run those of the argument, which may be changed until `fit`.

    Raises:
        ValueError: an argument is out of range, or all files of the run are damaged.

    Examples:
        >>> import tempfile
        >>> import numpy as np
        >>> from keras_griffin.models import Griffin, GriffinConfig
        >>> from keras_griffin.training import RandomWindows, ResumableRun
        >>> model = Griffin(GriffinConfig(vocabulary_size=256, width=16, num_layers=1, num_heads=2, window=4))
        >>> text = np.arange(200, dtype="uint8")
        >>> windows = RandomWindows(text, sequence_length=8, batch_size=2, num_batches=5)
        >>> run = ResumableRun(tempfile.mkdtemp(), save_every=2)
        >>> history = run.fit(model, windows, epochs=2, verbose=0)
        >>> len(history.history["loss"])
        2
    """

    def __init__(self, folder: str | os.PathLike, *, save_every: int = 100, keep: int = 2, notes: Any = None):
        self.save_every = checked("ResumableRun", COUNT, save_every=save_every)
        self._folder = RunFolder(folder, checked("ResumableRun", COUNT, keep=keep))
        self._saved = self._folder.read_newest()
        self.notes = self._saved.facts["notes"] if self._saved else notes
        self._step = self._saved.facts["step"] if self._saved else 0
        self._started = time.perf_counter() - (self._saved.facts["seconds"] if self._saved else 0.0)

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        return self._folder.folder

    @property
    def is_begun(self) -> bool:
        """Whether the folder holds a run, which `fit` would resume."""
        return bool(self._folder.paths())

    @property
    def step(self) -> int:
        """How many steps the run had done in its latest save, before this process."""
        return self._step

    @property
    def seconds(self) -> float:
        """How long the run has taken, including earlier processes; time whose work was lost does not count."""
        return time.perf_counter() - self._started

    def fit(
        self,
        model: keras.Model,
        data: keras.utils.PyDataset,
        epochs: int,
        *,
        validation_data: Any = None,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        verbose: int | str = "auto",
        **options: Any,
    ) -> keras.callbacks.History:
        """Train like `model.fit(data, shuffle=False, ...)`, from the current state of the run.

        On the first SIGTERM or Ctrl-C the current batch is finished, and the validation if it is an epoch's last; then
        the run is saved and ended. A second signal ends it at once. Signals are handled in the main thread only.

        Args:
            model: compiled and built, with any weights.
            data: a dataset as for `RestOfEpoch`: its batches depend only on its `epoch` and their index.
            epochs: the total number. A later process may increase it.
            validation_data: as for `fit`.
            callbacks: as for `fit`. The state of Keras's own, of `BestCheckpoint`, and of any callback that lists
                attributes as `saved_attributes` is restored. The file of a `CSVLogger` is restored without the rows of
                epochs that run again. An attribute `first_batch` is set to the first batch of a resumed epoch, where
                the count of `fit` restarts.
            verbose: as for `fit`.
            **options: others of `fit`, such as `validation_freq`.

        Returns:
            The history of the whole run.

        Raises:
            ValueError: the model, the data or their settings differ from those that the run began with, with the first
                differences in one sentence; another process trains in the folder; the model is not built and compiled;
                the run itself sets an option; the processes of a run have different settings, or begin with different
                weights, or are TensorFlow's.
            OSError: a file can't be written, as on a full disk; the files before it remain.
            RuntimeError: another process of the run has failed; the message is that of its error.
            Terminated: SIGTERM arrived, and the run is saved. A `SystemExit`: the process ends with 143.
            Interrupted: Ctrl-C was pressed, and the run is saved. A `KeyboardInterrupt`.
        """
        if _DECIDED & set(options):
            names = ", ".join(sorted(_DECIDED & set(options)))
            raise ValueError(f"ResumableRun.fit: the options must not be ones that the run sets itself. Got {names}.")
        if not (model.built and model.compiled):
            received = f"built: {model.built} and compiled: {model.compiled}"
            raise ValueError(f"ResumableRun.fit: the model must be built and compiled. Got {received}.")
        rest, processes = RestOfEpoch(data), all_processes()
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        stopping = "Stopping after this batch; a second signal stops at once."
        with contextlib.ExitStack() as stack:
            with processes.as_one():
                if processes.is_writer:
                    stack.enter_context(self._folder.lock())
                    # Another process may have written since, or removed the run; reading checks every byte.
                    if not self._saved or self._folder.paths()[:1] != [self._folder.path_of(self._saved.facts["step"])]:
                        self._saved = self._folder.read_newest()
                    self._folder.remove_parts()
            saved, self._saved = self._saved if processes.is_writer else None, None
            steps = validation_data, {"epochs": epochs, "save_every": self.save_every, **options}
            description, saved = self._matched(processes, saved, model, data, steps)

            def write(step, tensors, facts):
                tensors, facts = gather_snapshot(processes, tensors, facts)
                beside = {"description": description, "notes": self.notes, "seconds": self.seconds}
                with processes.as_one():
                    if processes.is_writer:
                        self._folder.write(step, tensors, {**facts, **beside})

            noted = stack.enter_context(noted_signals(stopping, signal.SIGINT, signal.SIGTERM))
            course = RunCourse(rest, saved, write, self.save_every, noted, callbacks, verbose, processes)
            # Windows can't remove the file, which later saves replace, while its arrays are mapped.
            del saved
            stack.callback(course.close_logs)
            if course.start:
                stack.enter_context(warnings.catch_warnings())
                # It is expected that less than an epoch is left.
                warnings.filterwarnings("ignore", message="Your input ran out of data")
            return model.fit(
                rest,
                epochs=course.epoch if course.is_stopped else epochs,
                initial_epoch=course.epoch,
                shuffle=False,
                validation_data=validation_data,
                callbacks=course.callbacks,
                verbose=verbose,
                **options,
            )

    def _matched(self, processes, saved, model, data, steps):
        """The description of the run, and the snapshot, checked to be of that run, that this process resumes from."""
        check_rows(processes, data)
        facts = share_facts(processes, saved)
        if facts:
            # The comparison includes the first batch, of the epoch in which the run began.
            data.epoch = facts["first_epoch"]
        with processes.as_one():
            own = describe_run(model, data)
            beside = {**describe_fit(data, *steps), **describe_layout(processes, model, data)}
        every = processes.values([own, beside])
        check_same_settings([{**one, **more} for one, more in every])
        description = describe_shares([one for one, _ in every])
        if facts is None:
            check_same_weights(processes, model)
            return description, None
        check_same_run(facts["description"], description)
        with processes.as_one():
            if processes.is_writer:
                check_variables(model, saved.tensors, processes)
        return description, share_snapshot(processes, saved, facts)

    def remove(self) -> None:
        """Remove all files of the run, and the folder if it is empty then.

        Raises:
            ValueError: another process is using it.
        """
        self._saved = None
        self._folder.remove()
