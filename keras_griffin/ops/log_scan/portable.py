"""On every backend: log T rounds over whole arrays with `keras.ops`, as in `linear_scan`, with sums for products."""

from keras_griffin.ops.log_scan.log_numbers import scanned
from keras_griffin.ops.recurrence import prefix

supports = prefix.supports
log_scan = scanned(prefix.scan)
