"""On every backend: the gates, then the backend's `linear_scan`, each with its own differentiation."""

from keras_griffin.ops.bounded_sqrt import bounded_sqrt
from keras_griffin.ops.linear_scan import SCAN
from keras_griffin.ops.recurrence.marks import Marks, forgetting
from keras_griffin.ops.recurrence.numbers import Components
from keras_griffin.ops.rg_lru.gates import GatedScanInputs, gates


def supports(facts) -> str | None:
    """Everything but float64 on NumPy, where Keras computes in float32."""
    return "computes in float32" if (facts.backend, facts.dtype) == ("numpy", "float64") else None


def rg_lru(
    unit: GatedScanInputs, initial_state: Components, marks: Marks, exponent: float, reverse: bool
) -> tuple[Components, Components]:
    """Every state and the last one; see the package."""
    numbers = gates(unit, marks, exponent, initial_state[0].dtype, bounded_sqrt)
    forgotten = forgetting(marks)
    reset = None if forgotten is None else forgotten[..., 0]
    return SCAN.run(*numbers, initial_state, reset, None, reverse=reverse)
