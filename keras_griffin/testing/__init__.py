"""Checks for contributors' mixers and kernels, and for users' pipelines; no other part of the package imports it."""

from keras_griffin.testing.leaks import check_no_leak

__all__ = ["check_no_leak"]
__dir__ = __all__.copy
