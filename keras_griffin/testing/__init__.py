"""What a contributor's mixer or kernel, and a user's own pipeline, must satisfy; nothing in the package imports it."""

from keras_griffin.testing.leaks import check_no_leak

__all__ = ["check_no_leak"]
