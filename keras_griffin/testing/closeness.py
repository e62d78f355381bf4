"""One table of tolerances for every comparison with a float64 reference."""

import keras
import numpy as np

from keras_griffin.testing.arrays import as_array

#: The largest error allowed, relative to the largest expected magnitude (at least 1), by the dtype of the result.
TOLERANCES = {"float64": 1e-10, "float32": 1e-5, "bfloat16": 1e-2}
#: On some CPUs, such as an AMD EPYC, TensorFlow cuts products to bfloat16, where others round: twice the error at most.
CUT = 2.0 if keras.backend.backend() == "tensorflow" else 1.0


def assert_close(actual, expected, dtype: str | None = None, factor: float = 1.0):
    """Fail unless `actual` equals `expected` up to the rounding of `dtype`.

    Args:
        actual: a tensor or an array.
        expected: an array of the same shape.
        dtype: a key of `TOLERANCES`; by default the dtype of `actual`.
        factor: a multiple of the table's tolerance; a caller that widens it gives the reason in a comment.

    Raises:
        AssertionError: shapes differ, a value is not finite where expected is, or an error exceeds the tolerance.
    """
    if dtype is None:
        dtype = keras.backend.standardize_dtype(actual.dtype)
    actual, expected = as_array(actual), np.asarray(expected)
    if actual.shape != expected.shape:
        raise AssertionError(f"assert_close: shapes must be equal. Got {actual.shape} and {expected.shape}.")
    if actual.size == 0:
        return
    if not np.array_equal(np.isfinite(actual), np.isfinite(expected)):
        raise AssertionError(f"assert_close: {np.sum(~np.isfinite(actual))} of {actual.size} values are not finite.")
    scale = max(1.0, float(np.max(np.abs(expected))))
    error = float(np.max(np.abs(actual.astype("float64") - expected))) / scale
    allowed = factor * TOLERANCES[dtype] * (CUT if dtype == "bfloat16" else 1.0)
    if not error <= allowed:
        raise AssertionError(
            f"assert_close: the relative error must be at most {allowed:.1e} for {dtype}. Got {error:.1e}."
        )
