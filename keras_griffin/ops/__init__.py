"""Mathematics: pure functions of tensors, no weights."""

from keras_griffin.ops.implementation import explain, use_implementation
from keras_griffin.ops.linear_scan import linear_scan

__all__ = ["explain", "linear_scan", "use_implementation"]
