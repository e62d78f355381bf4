"""In programs that PyTorch exports, for any length: one `scan` of the op's step."""

from keras_griffin.ops.delta_rule import SCAN
from keras_griffin.ops.recurrence.torch_exported import of_one_step, supports  # noqa: F401

delta_rule = of_one_step(SCAN)
