"""The calls on which `rg_lru` is tested and timed: as `linear_scan`, with the gates' logits in place of decays."""

from dataclasses import dataclass, fields
from typing import ClassVar

import keras
import numpy as np

from keras_griffin.ops.case import Argument, parts, rounded, whole
from keras_griffin.ops.linear_scan import cases as scan
from keras_griffin.ops.recurrence.numbers import components_of, number_of
from keras_griffin.ops.rg_lru import reference, rg_lru
from keras_griffin.ops.rg_lru.gates import GatedScanInputs


@dataclass(frozen=True)
class UnitCase(scan.ScanCase):
    """One call of `rg_lru`; arguments as `ScanCase` has them, and `exponent`, c."""

    exponent: float = 6.0
    moved: ClassVar[tuple[int, int]] = (4, 12)

    __str__ = scan.ScanCase.__str__

    @property
    def precisions(self):
        """The results' dtypes; Keras's sines and cosines are float32 on JAX."""
        return ["float32"] * 4 if self._has_float32_phase else self.result_dtypes

    @property
    def gradient_precision(self):
        """See `precisions`."""
        return "float32" if self._has_float32_phase else self.dtype

    @property
    def _has_float32_phase(self):
        return self.is_complex and self.dtype == "float64" and keras.backend.backend() == "jax"

    def arguments(self):
        """x, the logits of both gates, Lambda, theta of a complex unit, and the initial state if there is one."""
        generator = np.random.default_rng(0)
        inputs, start = self.normal(generator, self.shape), self.normal(generator, self.start_shape)
        logits = 2.0 * generator.normal(size=(2, *self.shape))
        channels = [generator.normal(3.0, 1.0, self.width)]
        channels += [generator.uniform(-0.5, 0.5, self.width)] if self.is_complex else []
        arguments = [argument for number in (inputs, *logits) for argument in self.sequence(number)]
        # At least float32, whatever the dtype of x.
        arguments += [Argument(rounded(x, "float32"), self.accumulation_dtype) for x in channels]
        return arguments + (self.components(start, self.accumulation_dtype) if self.has_initial_state else [])

    def call(self, *tensors):
        """States, and final state."""
        (inputs, *unit, phase), start = self._split(tensors)
        numbers = number_of(inputs), *unit, number_of(start) if start else None
        results = rg_lru(*numbers, phase=phase, exponent=self.exponent, **self.options)
        return [part for result in results for part in components_of(result)]

    def definition(self, *arrays):
        """States, and final state."""
        results = reference.definition(*self._of_numbers(arrays), self.exponent, **self.options)
        return [part for result in results for part in parts(result)]

    def gradients(self, weights, *arrays):
        """For every argument."""
        count = 1 + self.is_complex
        weights = whole(weights[:count]), whole(weights[count:])
        into, into_start = reference.rg_lru_gradient(*self._of_numbers(arrays), self.exponent, weights, **self.options)
        flat = [*parts(into.inputs), *(x for x in into[1:] if x is not None)]
        return flat + (parts(into_start) if self.has_initial_state else [])

    def _split(self, arrays):
        """The unit, with components of x, and the components of the initial state."""
        count = 1 + self.is_complex
        inputs, rest = arrays[:count], arrays[count:]
        unit, start = rest[: 2 + count], rest[2 + count :]
        return GatedScanInputs(inputs, *unit, *([] if self.is_complex else [None])), start

    def _of_numbers(self, arrays):
        unit, start = self._split(arrays)
        return unit._replace(inputs=whole(unit.inputs)), whole(start) if start else None


def of_scan(case: scan.ScanCase) -> UnitCase:
    """The `rg_lru` call with the same sizes and options."""
    return UnitCase(**{field.name: getattr(case, field.name) for field in fields(case)})


CASES = (*map(of_scan, scan.CASES), UnitCase(65, 3, has_reset=True, has_mask=True))


def timed(device: str) -> tuple[UnitCase, ...]:
    """The sizes at which `linear_scan` is timed."""
    return tuple(map(of_scan, scan.timed(device)))
