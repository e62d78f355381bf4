"""Deleting many of a model's variables without a search for garbage after each."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def without_looking_for_garbage() -> Iterator[None]:
    """Inside the `with` block, what Keras does whenever a variable is deleted takes no time.

    Keras collects garbage then, which looks through every object of the process. A variable's memory is free without
    that, once nothing refers to it. Objects that the caller has frozen stay frozen.
    """
    were_frozen = gc.get_freeze_count() > 0
    gc.freeze()
    try:
        yield
    finally:
        if not were_frozen:
            gc.unfreeze()
