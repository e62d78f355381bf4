"""In programs that PyTorch exports: one `scan`."""

import functools

from keras_griffin.ops.recurrence import torch_exported
from keras_griffin.ops.recurrence.marks import with_marks_applied
from keras_griffin.ops.recurrence.numbers import LINEAR

supports = torch_exported.supports
linear_scan = with_marks_applied(functools.partial(torch_exported.scan, semiring=LINEAR))
