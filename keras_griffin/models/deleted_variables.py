"""Deleting many of a model's variables without a garbage collection after each."""

import contextlib
import gc
import threading
from collections.abc import Iterator


class _Frozen:
    """Counts the `with` blocks, of all threads, for which the process's objects are frozen."""

    def __init__(self):
        self.lock = threading.Lock()
        self.blocks = 0
        self.was_so = False

    def enter(self):
        with self.lock:
            if not self.blocks:
                self.was_so = gc.get_freeze_count() > 0
            self.blocks += 1
            gc.freeze()

    def leave(self):
        with self.lock:
            self.blocks -= 1
            if not self.blocks and not self.was_so:
                gc.unfreeze()


_frozen = _Frozen()


@contextlib.contextmanager
def without_looking_for_garbage() -> Iterator[None]:
    """Inside the `with` block, Keras's garbage collection for each deleted variable takes no time.

    It would visit every object of the process. A variable's memory is freed without it, as soon as nothing refers to
    the variable. Objects that the caller has frozen stay frozen.
    """
    _frozen.enter()
    try:
        yield
    finally:
        _frozen.leave()
