"""Judge one implementation of an op on one case, against the op's float64 reference."""

import keras
import numpy as np
from keras import ops

from keras_griffin.ops.case import Case
from keras_griffin.ops.implementation import use_implementation
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from keras_griffin.testing.gradients import value_and_gradient


def check_values(op_name: str, implementation: str, case: Case):
    """Fail unless an implementation has the reference's results, in the dtypes of the contract.

    Args:
        op_name: such as `"linear_scan"`.
        implementation: a name from the table that `explain(op_name)` prints.
        case: from the op's `cases.py`.

    Raises:
        AssertionError: a dtype, a shape or a value is wrong.
    """
    arguments = case.arguments()
    with use_implementation(op_name, implementation):
        results = case.call(*(ops.convert_to_tensor(x.values, x.dtype) for x in arguments))
    dtypes = [keras.backend.standardize_dtype(result.dtype) for result in results]
    if dtypes != case.result_dtypes:
        raise AssertionError(f"check_values: the results' dtypes must be {case.result_dtypes}. Got {dtypes}.")
    expected = case.definition(*(x.values for x in arguments))
    for result, wanted, dtype in zip(results, expected, case.precisions, strict=True):
        assert_close(as_array(result), wanted, dtype)


def check_gradients(op_name: str, implementation: str, case: Case):
    """Fail unless a weighted sum of an implementation's results has the reference's gradients.

    Args:
        op_name: as for `check_values`.
        implementation: as for `check_values`; it must be differentiable.
        case: as for `check_values`.

    Raises:
        AssertionError: a gradient is wrong.
    """
    arrays = [argument.values for argument in case.arguments()]
    weights = weights_of(case.definition(*arrays))

    def loss(*tensors):
        with use_implementation(op_name, implementation):
            results = case.run(*tensors)
        factors = (ops.convert_to_tensor(weight, case.accumulation_dtype) for weight in weights)
        pairs = zip(results, factors, strict=True)
        return sum(ops.sum(ops.cast(result, case.accumulation_dtype) * factor) for result, factor in pairs)

    _, gradients = value_and_gradient(loss, *(array.astype(case.accumulation_dtype) for array in arrays))
    for gradient, wanted in zip(gradients, case.gradients(weights, *arrays), strict=True):
        assert_close(gradient, wanted, case.gradient_precision)


def weights_of(results: list[np.ndarray]) -> list[np.ndarray]:
    """Normal weights for a sum of results, in float64 but no finer than float32."""
    generator = np.random.default_rng(2)
    return [generator.normal(size=result.shape).astype("float32").astype("float64") for result in results]
