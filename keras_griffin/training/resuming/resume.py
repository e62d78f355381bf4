"""A training run that goes on where it was cut off."""

import contextlib
import json
import os
import signal
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from keras_griffin.training.interruption import noted_signals
from keras_griffin.training.resuming.processes import all_processes
from keras_griffin.training.resuming.rest_of_epoch import RestOfEpoch
from keras_griffin.training.resuming.run_course import RunCourse
from keras_griffin.training.resuming.run_description import describe_run, describe_shares, refuse_differences
from keras_griffin.training.resuming.run_folder import RunFolder
from keras_griffin.training.resuming.run_variables import check_variables
from keras_griffin.training.resuming.shared_moment import check_same_weights, gather_moment, share_facts, share_moment

#: Options of `fit` that a run decides.
_DECIDED = {"batch_size", "initial_epoch", "sample_weight", "shuffle", "steps_per_epoch", "validation_split", "x", "y"}


class ResumableRun:
    """A `fit` that SIGTERM, SIGKILL or a loss of power may cut off at any moment, and that then goes on.

    It saves itself in its folder at the start, every so many steps, at the end of each epoch, and on SIGTERM or Ctrl-C
    after the batch at hand. Begun again with the same model, data and settings it continues with the very next batch,
    and reaches what it would have reached without a pause: weights, losses, metrics, history and logs.

    A file gets its name when it is whole and on the disk, and its checksums show any damage; the run then goes on from
    the one before it, and warns.

    Several processes that train one model, those of PyTorch's process group or of JAX's `keras.distribution`, are one
    run: each calls `fit` with its own rows of the batches. All end after the same batch, whichever of them the signal
    reaches, and go on with the same one; the first of them reads and writes the folder.

    Args:
        folder: of the run. It is made when the run begins, and while a process trains in it, others are refused.
        save_every: steps between two saves, which is what SIGKILL can cost.
        keep: how many of the newest files are kept; with 2, one may be damaged.
        notes: anything that JSON can hold, to be found again when the run goes on.

    Attributes:
        notes: those with which the run in the folder began, or what was given where none has begun. Until `fit` they
            may be changed.

    Raises:
        ValueError: an argument is out of range, or each file of the run is damaged.

    Examples:
        >>> import tempfile
        >>> import numpy as np
        >>> from keras_griffin.models import Griffin, GriffinConfig
        >>> from keras_griffin.training import RandomWindows, ResumableRun
        >>> model = Griffin(GriffinConfig(vocabulary_size=256, width=16, num_layers=1, num_heads=2, window=4))
        >>> windows = RandomWindows(np.arange(200, dtype="uint8"), sequence_length=8, batch_size=2, num_batches=5)
        >>> run = ResumableRun(tempfile.mkdtemp(), save_every=2)
        >>> history = run.fit(model, windows, epochs=2, verbose=0)
        >>> len(history.history["loss"])
        2
    """

    def __init__(self, folder: str | os.PathLike, *, save_every: int = 100, keep: int = 2, notes: Any = None):
        for name, value in {"save_every": save_every, "keep": keep}.items():
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"ResumableRun: {name} must be an integer of at least 1. Got {value!r}.")
        self.save_every = save_every
        self._folder = RunFolder(folder, keep)
        self._saved = self._folder.read_newest()
        self.notes = self._saved.facts["notes"] if self._saved else notes
        self._step = self._saved.facts["step"] if self._saved else 0
        self._started = time.perf_counter() - (self._saved.facts["seconds"] if self._saved else 0.0)

    @property
    def folder(self) -> Path:
        """Of the run."""
        return self._folder.folder

    @property
    def is_begun(self) -> bool:
        """Whether the folder holds a run, which would go on."""
        return bool(self._folder.paths())

    @property
    def step(self) -> int:
        """How many steps the run had done when it was saved last, before this process."""
        return self._step

    @property
    def seconds(self) -> float:
        """How long the run has taken, in all processes together; time whose work was lost does not count."""
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
        """Train as `model.fit(data, shuffle=False, ...)` would, from where the run stands.

        On the first SIGTERM or Ctrl-C the batch at hand is finished, with the validation where it is an epoch's last;
        then the run is saved, and ended. The second one does not wait. Signals are handled in the main thread only.

        Args:
            model: compiled and built, with any weights.
            data: a dataset as `RestOfEpoch` takes it: its batches depend on its `epoch` and their index alone.
            epochs: how many in all. A later process may ask for more.
            validation_data: as for `fit`.
            callbacks: as for `fit`. Keras's own, `BestCheckpoint`, and any whose attribute `kept` names attributes of
                theirs, find what they knew. A `CSVLogger` finds its file, without rows of epochs that are run again.
                An attribute `first_batch` is set to the batch with which an epoch goes on: `fit` counts from there.
            verbose: as for `fit`.
            **options: others of `fit`, such as `validation_freq`.

        Returns:
            The history of the whole run.

        Raises:
            ValueError: the model, the data or their settings are not those with which the run began, all differences
                in one sentence; another process trains in the folder; the model is not built and compiled; an option is
                one that the run decides; the processes of a run begin with different weights, or are TensorFlow's.
            OSError: what was to be saved can't be written, as on a full disk; the files before it remain.
            RuntimeError: another process of the run has failed, with what.
            Terminated: SIGTERM arrived, and the run is saved. A `SystemExit`: the process ends with 143.
            Interrupted: Ctrl-C was pressed, and the run is saved. A `KeyboardInterrupt`.
        """
        if _DECIDED & set(options):
            names = ", ".join(sorted(_DECIDED & set(options)))
            raise ValueError(f"ResumableRun.fit: the options must not be what the run decides. Got {names}.")
        if not (model.built and model.compiled):
            received = f"built: {model.built} and compiled: {model.compiled}"
            raise ValueError(f"ResumableRun.fit: the model must be built and compiled. Got {received}.")
        rest, processes = RestOfEpoch(data), all_processes()
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        stopping = "Stopping after this batch; a second time stops at once."
        with contextlib.ExitStack() as stack:
            with processes.as_one():
                if processes.is_writer:
                    stack.enter_context(self._folder.lock())
                    self._read_again()
                    self._folder.remove_parts()
            saved, self._saved = self._saved if processes.is_writer else None, None
            description, saved = self._matched(processes, saved, model, data)

            def write(step, tensors, facts):
                tensors, facts = gather_moment(processes, tensors, facts)
                beside = {"description": description, "notes": self.notes, "seconds": self.seconds}
                with processes.as_one():
                    if processes.is_writer:
                        self._folder.write(step, tensors, {**facts, **beside})

            noted = stack.enter_context(noted_signals(stopping, signal.SIGINT, signal.SIGTERM))
            course = RunCourse(rest, saved, write, self.save_every, noted, callbacks, verbose, processes)
            stack.callback(course.close_logs)
            if course.start:
                stack.enter_context(warnings.catch_warnings())
                # That less than an epoch is left is as it should be.
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

    def _read_again(self):
        """Read the newest moment, where another process has written since, or none was read."""
        if self._saved is None or self._folder.newest_step() != self._saved.facts["step"]:
            self._saved = self._folder.read_newest()

    def _matched(self, processes, saved, model, data):
        """The description of the run, and the moment from which this process goes on, which is one of that run."""
        facts = share_facts(processes, saved)
        if facts:
            # The first batch is compared, that of the epoch in which the run began.
            data.epoch = facts["first_epoch"]
        with processes.as_one():
            own = describe_run(model, data)
        description = describe_shares([json.loads(text) for text in processes.texts(json.dumps(own))])
        if facts is None:
            check_same_weights(processes, model)
            return description, None
        refuse_differences(facts["description"], description)
        with processes.as_one():
            if processes.is_writer:
                check_variables(model, saved.tensors)
        return description, share_moment(processes, saved, facts)

    def remove(self) -> None:
        """Remove all that the run has saved; the folder too, where nothing else is in it.

        Raises:
            ValueError: another process trains in it.
        """
        self._saved = None
        self._folder.remove()
