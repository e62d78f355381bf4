"""On TensorFlow: the gates, then a loop; for the gradient the gates are recomputed instead of stored.

Both are always compiled by XLA, as the loop itself must be.
"""

import functools

import tensorflow as tf

from keras_griffin.ops.recurrence.marks import Marks, forgetting
from keras_griffin.ops.recurrence.numbers import Components
from keras_griffin.ops.recurrence.tensorflow_in_place import scan, scan_gradient
from keras_griffin.ops.rg_lru.gates import gates, gates_gradient
from keras_griffin.ops.rg_lru.inputs import GatedScanInputs


def supports(facts) -> str | None:
    """Everything on TensorFlow."""
    return None


def rg_lru(
    unit: GatedScanInputs, initial_state: Components, marks: Marks, exponent: float, reverse: bool
) -> tuple[Components, Components]:
    """Every state and the last one; see the package."""
    parts = len(initial_state)
    run, run_back = _compiled(exponent, reverse)

    @tf.custom_gradient
    def differentiable(*tensors):
        # Hidden from tapes, which would turn the compiled function into another one that stores every step's arrays.
        unit, initial_state = _packed([tf.stop_gradient(tensor) for tensor in tensors], parts)
        states, final_state = run(unit, initial_state, marks)

        def gradient(*gradients):
            return run_back(unit, states, initial_state, marks, gradients[:parts], gradients[parts:])

        return (*states, *final_state), gradient

    results = differentiable(*_flat(unit, initial_state))
    shapes = [x.shape for x in (*unit.inputs, *initial_state)]
    results = [tf.ensure_shape(y, shape) for y, shape in zip(results, shapes, strict=True)]
    return tuple(results[:parts]), tuple(results[parts:])


@functools.cache
def _compiled(exponent, reverse):
    """Forward and backward, each traced for few kinds of arguments and compiled once for each shape."""

    def run(unit, initial_state, marks):
        numbers = gates(unit, marks, exponent, initial_state[0].dtype.name)
        return scan(*numbers, initial_state, forgetting(marks), reverse)

    def run_back(unit, states, initial_state, marks, states_gradient, final_gradient):
        dtype = initial_state[0].dtype.name
        decay, _ = gates(unit, marks, exponent, dtype)
        into_decay, into_inputs, into_start = scan_gradient(
            decay, states, initial_state, forgetting(marks), (states_gradient, final_gradient), reverse
        )
        gradient = gates_gradient(unit, marks, exponent, dtype, into_decay, into_inputs)
        pairs = zip(_flat(gradient, into_start), _flat(unit, initial_state), strict=True)
        return [tf.cast(x, like.dtype) for x, like in pairs]

    return tuple(
        tf.function(function, jit_compile=True, autograph=False, reduce_retracing=True) for function in (run, run_back)
    )


def _flat(unit, initial_state):
    return [x for x in (*unit.inputs, *unit[1:], *initial_state) if x is not None]


def _packed(tensors, parts):
    """The inverse of `_flat`; a complex unit has a phase."""
    inputs, rest = tuple(tensors[:parts]), tensors[parts:]
    phase = rest[3] if parts == 2 else None
    return GatedScanInputs(inputs, *rest[:3], phase), tuple(rest[2 + parts :])
