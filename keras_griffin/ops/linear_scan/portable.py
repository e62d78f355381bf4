"""On every backend: log T rounds over whole arrays with `keras.ops`, differentiated by the backend itself."""

import functools

from keras_griffin.ops.recurrence import prefix
from keras_griffin.ops.recurrence.marks import with_marks_applied
from keras_griffin.ops.recurrence.numbers import LINEAR

supports = prefix.supports
linear_scan = with_marks_applied(functools.partial(prefix.scan, semiring=LINEAR))
