"""On TensorFlow: the gates, then a loop, compiled by XLA; for the gradient the gates are recomputed, not stored."""

import functools

from keras_griffin.ops.recurrence.marks import Marks
from keras_griffin.ops.recurrence.numbers import Components
from keras_griffin.ops.recurrence.tensorflow_gradient import compiled, with_gradient
from keras_griffin.ops.recurrence.tensorflow_in_place import scan, scan_gradient
from keras_griffin.ops.rg_lru.gates import GatedScanInputs, flat, gated_scan, gated_scan_gradient, packed


def supports(facts) -> str | None:
    """Everything on TensorFlow."""
    return None


def rg_lru(
    unit: GatedScanInputs, initial_state: Components, marks: Marks, exponent: float, reverse: bool
) -> tuple[Components, Components]:
    """Every state and the last one; see the package."""
    parts = len(initial_state)
    run, run_back = _compiled(exponent, reverse)

    def forward(tensors):
        unit, initial_state = packed(tensors)
        states, final_state = run(unit, initial_state, marks)
        return (*states, *final_state), (unit, states, initial_state)

    def backward(kept, gradients):
        return flat(*run_back(*kept, marks, (gradients[:parts], gradients[parts:])))

    like = *unit.inputs, *initial_state
    results = with_gradient(forward, backward, flat(unit, initial_state), like)
    return tuple(results[:parts]), tuple(results[parts:])


@functools.cache
def _compiled(exponent, reverse):
    """Forward and backward."""
    options = {"exponent": exponent, "reverse": reverse}
    return (
        compiled(functools.partial(gated_scan, scan, **options)),
        compiled(functools.partial(gated_scan_gradient, scan_gradient, **options)),
    )
