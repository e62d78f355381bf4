"""The callbacks around the steps of a run: restore it, position its data, and save it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_griffin import backends
from keras_griffin.training.data.rest_of_epoch import RestOfEpoch
from keras_griffin.training.interruption import NotedSignals, StopOnInterrupt
from keras_griffin.training.resuming.processes import Processes
from keras_griffin.training.resuming.run_file import RunFile
from keras_griffin.training.resuming.run_state import (
    callback_states,
    copy_variables,
    restore_callbacks,
    restore_logs,
    restore_metrics,
    restore_variables,
)


class RunCourse(keras.callbacks.Callback):
    """The first of the `callbacks` of a run's `fit`: it restores the state that the user's callbacks rely on.

    A save must include what they did with the same batch; a restore must happen before some of them begin, and after
    others have. So the last callback does the rest. `fit` resumes at the batch `start` of `epoch`, or not at all if a
    callback ended the run: `is_stopped`.
    """

    def __init__(
        self,
        rest: RestOfEpoch,
        saved: RunFile | None,
        write: Callable[[int, Mapping[str, np.ndarray], dict], None],
        save_every: int,
        noted: NotedSignals,
        callbacks: Sequence[keras.callbacks.Callback],
        verbose="auto",
        processes: Processes | None = None,
    ):
        super().__init__()
        beginning: dict[str, Any] = {"step": 0, "epoch": 0, "start": 0, "is_stopped": False, "first_epoch": rest.epoch}
        facts = saved.facts if saved else beginning
        self.epoch, self.start, self.is_stopped = facts["epoch"], facts["start"], facts["is_stopped"]
        self.first_epoch, self.step = facts["first_epoch"], facts["step"]
        self.rest, self.saved, self.save_every, self.noted = rest, saved, save_every, noted
        self._write = write
        self._processes = processes or Processes()
        self._share = self._processes.share_of_metrics(facts.get("count", self._processes.count))
        self.others = [*callbacks, keras.callbacks.History()]
        bar = [_BarFromTheStart(rest)] if verbose != 0 else []
        self.callbacks = [self, *self.others, *bar, _After(self)]

    def on_train_begin(self, logs=None):
        """Restore the variables and the logs."""
        if self.saved:
            restore_variables(self.model, self.saved.tensors, self._processes)
            restore_logs(self.others, self.saved.facts["callbacks"])

    def on_epoch_begin(self, epoch, logs=None):
        """Position the data; in a resumed epoch also restore the metrics, and set `first_batch` of callbacks."""
        rest = self.rest
        # As in `fit`, which ends an epoch of the data before its own first one.
        rest.epoch = self.first_epoch + 1 + epoch
        rest.start = self.start if epoch == self.epoch else 0
        for callback in self.others:
            # `fit` restarts its count of batches there.
            if hasattr(callback, "first_batch"):
                callback.first_batch = rest.start
        if rest.start and self.saved and not restore_metrics(self.model, self.saved.tensors, self._share):
            # On TensorFlow, metrics get their variables in the first step.
            batch = rest[0]
            self.model.test_on_batch(*(batch if isinstance(batch, (tuple, list)) else [batch]))
            restore_variables(self.model, self.saved.tensors, self._processes)
            restore_metrics(self.model, self.saved.tensors, self._share)

    def save(self, epoch: int, start: int, is_stopped: bool = False) -> None:
        """Save the state before a batch."""
        backends.active().sync_variables(self.model)
        states, arrays = callback_states(self.others)
        arrays.update(copy_variables(self.model, start > 0, self._processes))
        place = {"step": self.step, "epoch": epoch, "start": start, "is_stopped": is_stopped}
        self._write(self.step, arrays, {**place, "first_epoch": self.first_epoch, "callbacks": states})

    def agree(self) -> tuple[int, bool]:
        """Stop every process if one must stop; return a signal that ends all, or 0, and if `stop_on_interrupt` does.

        A signal that arrives after its process was asked counts in the next agreement, not in its process alone.
        """
        interrupted = any(callback.is_interrupted for callback in self.others if isinstance(callback, StopOnInterrupt))
        received, is_stopping, is_interrupted = self._processes.largest(
            self.noted.received or 0, int(self.model.stop_training), int(interrupted)
        )
        if is_stopping:
            self.model.stop_training = True
        return received, bool(is_interrupted)

    def end_if_signalled(self) -> None:
        """End every process if one has a signal by now; a save takes long enough for one to arrive."""
        received, _ = self.agree()
        if received:
            self.noted.end(received)

    def close_logs(self) -> None:
        """Close the files that `fit` leaves open when an exception ends it."""
        for callback in self.others:
            if isinstance(callback, keras.callbacks.CSVLogger):
                callback.on_train_end()


class _After(keras.callbacks.Callback):
    """Restores the state of the other callbacks, and saves the run."""

    def __init__(self, course):
        super().__init__()
        self._course = course
        self._saved_step = course.step
        self._epoch = self._done = 0
        self._is_cut = False

    def on_train_begin(self, logs=None):
        """Restore callbacks; a new run is saved at once."""
        course = self._course
        if course.saved:
            restore_callbacks(course.others, course.saved.facts["callbacks"], course.saved.tensors)
        else:
            course.save(0, 0)

    def on_epoch_begin(self, epoch, logs=None):
        """Release the file, of which everything is restored; a view would keep it open."""
        self._course.saved = None
        self._epoch, self._done, self._is_cut = epoch, self._course.rest.start, False

    def on_train_batch_end(self, batch, logs=None):
        """Save when it is due, or when a signal or a callback ends the run; not after an epoch's last batch.

        That is saved after the validation: `fit` can't begin with an epoch of which no batch is left.
        """
        course, num_batches = self._course, self._course.rest.data.num_batches
        done = min(course.rest.start + batch + 1, num_batches)
        course.step += done - self._done
        self._done = done
        if done == num_batches:
            if course.rest.start and keras.backend.backend() != "torch":
                # `fit` expects as many steps as in other epochs, and takes this for the end of the data. Without it
                # TensorFlow would begin a step without a batch, and change weights before it notices.
                raise StopIteration
            return
        received, _ = course.agree()
        self._is_cut = self.model.stop_training
        if self._is_cut or received or course.step - self._saved_step >= course.save_every:
            course.save(self._epoch, done)
            self._saved_step = course.step
            course.end_if_signalled()

    def on_epoch_end(self, epoch, logs=None):
        """Save the end of an epoch, unless it was cut short."""
        course = self._course
        _, is_interrupted = course.agree()
        if not self._is_cut:
            # After the Ctrl-C of `stop_on_interrupt` the run may resume; if another callback ended it, it may not.
            course.save(epoch + 1, 0, is_stopped=self.model.stop_training and not is_interrupted)
            self._saved_step = course.step
        course.end_if_signalled()


class _BarFromTheStart(keras.callbacks.ProgbarLogger):
    """A progress bar that continues where a resumed epoch was interrupted."""

    def __init__(self, rest):
        super().__init__()
        self._rest = rest

    def on_train_batch_end(self, batch, logs=None):
        """Count the batches of the whole epoch."""
        super().on_train_batch_end(self._rest.start + batch, logs)
