"""Every row of every op's table on every case of the op: one harness over the registry.

The reference is judged first, its gradient by differences; it then judges the others, values and gradients, at odd
sizes, with marks, in every dtype, and with NaN where nothing may be read.
"""

import numpy as np
import pytest
from keras import ops

from keras_griffin.ops.implementation import Op, use_implementation
from keras_griffin.ops.recurrence.scan_op import ScanOp
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from tests.ops.rows import (
    BACKEND,
    check_gradients,
    check_values,
    interpreted_rows,
    pretend,
    serves,
    weights_of,
)

CASES = [pytest.param(op, case, id=f"{op.name}-{case}") for op in Op.registry.values() for case in op.cases.CASES]
CALLS = [
    pytest.param(op.name, row.name, case, id=f"{op.name}-{row.name}-{case}")
    for op, case in (parameter.values for parameter in CASES)
    for row in op.implementations
    if serves(op, row, case.shape, case.dtype)
]
#: NumPy's are not differentiated, and exported programs neither.
DIFFERENTIABLE_CALLS = [call for call in CALLS if call.values[1] not in ("reference", "torch_exported")]

# PyTorch's compiler, which FlexAttention uses even in eager mode, reads every attribute of its arguments.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf Tensor:UserWarning"),
    pytest.mark.usefixtures("small_chunks"),
]


@pytest.mark.parametrize(("op_name", "implementation", "case"), CALLS)
def test_values(op_name, implementation, case):
    check_values(op_name, implementation, case)


#: The tolerance for bfloat16 would hide a state that is rounded at every step.
RECURRENCES = {op.name for op in Op.registry.values() if isinstance(op, ScanOp)}
HALF = [call for call in CALLS if call.values[0] in RECURRENCES and call.values[2].dtype == "bfloat16"]


@pytest.mark.parametrize(("op_name", "implementation", "case"), HALF)
def test_a_recurrence_in_half_precision_is_rounded_once(op_name, implementation, case):
    arguments = case.arguments()
    with use_implementation(op_name, implementation):
        results = case.call(*(ops.convert_to_tensor(x.values, x.dtype) for x in arguments))
    for result, expected in zip(results, case.definition(*(x.values for x in arguments)), strict=True):
        np.testing.assert_allclose(as_array(result), expected, rtol=2**-8, atol=2e-5 * max(1.0, np.abs(expected).max()))


LONG = {call.values[:2]: call for call in DIFFERENTIABLE_CALLS if call.values[0] in RECURRENCES and "T65" in call.id}


@pytest.mark.parametrize(("op_name", "implementation", "case"), LONG.values())
def test_outputs_do_not_depend_on_later_steps(op_name, implementation, case):
    arguments = case.arguments()
    expected = case.definition(*(x.values for x in arguments))
    seen = slice(25, None) if getattr(case, "reverse", False) else slice(40)
    for argument in arguments:
        if argument.values.shape[:2] == case.shape[:2]:
            kept = argument.values[:, seen].copy()
            argument.values[:] = np.nan
            argument.values[:, seen] = kept
    with use_implementation(op_name, implementation):
        results = case.call(*(ops.convert_to_tensor(x.values, x.dtype) for x in arguments))
    for result, wanted in zip(results, expected, strict=True):
        if wanted.shape == case.shape:
            assert_close(as_array(result)[:, seen], wanted[:, seen], "float32")


@pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow alone traces functions whose lengths it does not know")
@pytest.mark.parametrize(("op_name", "implementation", "case"), LONG.values())
def test_a_length_known_only_when_the_function_runs(op_name, implementation, case):
    import tensorflow as tf

    arguments = case.arguments()
    unknown = [
        [None if size == case.shape[axis] else size for axis, size in enumerate(x.values.shape[:2])]
        + [*x.values.shape[2:]]
        for x in arguments
    ]
    with use_implementation(op_name, implementation):
        specs = [tf.TensorSpec(shape, x.dtype) for shape, x in zip(unknown, arguments, strict=True)]
        traced = tf.function(lambda *tensors: case.call(*tensors), input_signature=specs)
        results = traced(*(ops.convert_to_tensor(x.values, x.dtype) for x in arguments))
    expected = case.definition(*(x.values for x in arguments))
    for result, wanted, dtype in zip(results, expected, case.precisions, strict=True):
        assert_close(result, wanted, dtype)


@pytest.mark.trainable
@pytest.mark.parametrize(("op_name", "implementation", "case"), DIFFERENTIABLE_CALLS)
def test_gradients(op_name, implementation, case):
    check_gradients(op_name, implementation, case)


@pytest.mark.any_backend
@pytest.mark.parametrize(("op", "case"), CASES)
def test_the_gradient_of_a_definition_is_its_slope(op, case):
    arrays = [argument.values for argument in case.arguments()]
    weights = weights_of(case.definition(*arrays))
    generator = np.random.default_rng(3)
    directions = [generator.normal(size=array.shape) for array in arrays]

    def loss(step):
        moved = [array + step * direction for array, direction in zip(arrays, directions, strict=True)]
        results = case.definition(*moved)
        return sum(np.sum(weight * result) for weight, result in zip(weights, results, strict=True))

    gradients = case.gradients(weights, *arrays)
    slope = sum(np.sum(gradient * direction) for gradient, direction in zip(gradients, directions, strict=True))
    assert slope == pytest.approx((loss(1e-6) - loss(-1e-6)) / 2e-6, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("op", Op.registry.values(), ids=lambda op: op.name)
def test_every_row_of_the_backend_is_run(op):
    """Triton's are interpreted in a process of their own."""
    run = {call.values[1] for call in CALLS if call.values[0] == op.name}
    expected = {row.name for row in op.implementations if row.backend in (None, BACKEND)}
    assert expected - run == {row.name for row in op.implementations if row.name.endswith("_triton")} & expected


def test_a_kernel_is_chosen_on_its_device():
    for name, rows in interpreted_rows().items():
        for op, row in rows:
            with pytest.MonkeyPatch.context() as patch:
                pretend(patch, op, row)
                # Of any length, in exported programs.
                shape = None if row.exported else op.cases.timed("gpu")[0].shape
                assert op.explain(shape, "float32").chosen == name
