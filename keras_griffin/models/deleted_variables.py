"""Deleting many of a model's variables without a search for garbage after each."""

import contextlib
import gc
import threading
from collections.abc import Iterator


class _Frozen:
    """For how many `with` blocks, of all threads, the process's objects are frozen now."""

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
    """Inside the `with` block, what Keras does whenever a variable is deleted takes no time.

    Keras collects garbage then, which looks through every object of the process. A variable's memory is free without
    that, once nothing refers to it. Objects that the caller has frozen stay frozen.
    """
    _frozen.enter()
    try:
        yield
    finally:
        _frozen.leave()
