"""In programs that PyTorch exports, for any length: one `scan` of the op's step."""

from keras_griffin.ops.gated_linear_attention import SCAN
from keras_griffin.ops.recurrence.torch_exported import of_one_step, supports  # noqa: F401

gated_linear_attention = of_one_step(SCAN)
