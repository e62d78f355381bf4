"""A kernel of `rg_lru` and the kernel of its gradient as one compiled JAX function, over devices."""

from collections.abc import Callable

from keras_griffin.ops.recurrence.jax_gradient import MARKS, SEQUENCE, STATE, on_devices
from keras_griffin.ops.recurrence.marks import Marks
from keras_griffin.ops.recurrence.numbers import Components
from keras_griffin.ops.rg_lru.gates import GatedScanInputs
from keras_griffin.ops.shared.jax_division import varying_with

#: How the arrays are divided over devices; the gradients for Lambda and theta are each row's.
_UNIT, _INTO_UNIT = (GatedScanInputs._make([*[SEQUENCE] * 3, *[channels] * 2]) for channels in ("c", STATE))


def of_kernels(scan: Callable, scan_gradient: Callable) -> Callable:
    """The package's `rg_lru` around kernels, as in `triton_passes.py`; for the arguments see `on_devices`."""
    arguments, results, into = (_UNIT, STATE, MARKS), (SEQUENCE, STATE), (_INTO_UNIT, STATE)
    keep = lambda tensors, results: (tensors[0], results[0], *tensors[1:])  # noqa: E731
    call = on_devices(scan, scan_gradient, keep, arguments, results, into)

    def rg_lru(
        unit: GatedScanInputs, initial_state: Components, marks: Marks, exponent: float, reverse: bool
    ) -> tuple[Components, Components]:
        """Every state and the last one; see the package."""
        initial_state, channels = varying_with(unit.inputs[0], initial_state, unit[3:])
        return call((GatedScanInputs(*unit[:3], *channels), initial_state, marks), (exponent, reverse))

    return rg_lru
