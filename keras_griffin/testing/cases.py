"""The calls on which every implementation of an op is judged."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class ScanArguments(NamedTuple):
    """The arrays of one call of `linear_scan`, and weights that make a scalar loss of what it returns."""

    decay: np.ndarray
    inputs: np.ndarray
    initial_state: np.ndarray | None
    reset: np.ndarray | None
    mask: np.ndarray | None
    states_weight: np.ndarray
    final_weight: np.ndarray


@dataclass(frozen=True)
class ScanCase:
    """What is asked of one call of `linear_scan`.

    Args:
        length: T.
        batch_size: B.
        is_complex: decay, inputs and states are complex.
        dtype: of decay and inputs.
        reverse: the call's `reverse`.
        has_reset: some steps forget the past.
        has_mask: some steps are masked, and hold NaN.
        has_initial_state: it is given.
    """

    length: int
    batch_size: int = 1
    is_complex: bool = False
    dtype: str = "float32"
    reverse: bool = False
    has_reset: bool = False
    has_mask: bool = False
    has_initial_state: bool = True

    def __str__(self) -> str:
        flags = {
            "complex": self.is_complex,
            "reverse": self.reverse,
            "reset": self.has_reset,
            "mask": self.has_mask,
            "from_zeros": not self.has_initial_state,
        }
        return "-".join(
            [f"B{self.batch_size}", f"T{self.length}", self.dtype, *(name for name in flags if flags[name])]
        )

    def arguments(self, width: int = 5, seed: int = 0) -> ScanArguments:
        """Arrays in double precision that the case's dtype can hold."""
        generator = np.random.default_rng(seed)
        sequence, state = (self.batch_size, self.length, width), (self.batch_size, width)

        def number(shape):
            real = self._round(generator.normal(size=shape))
            return real + 1j * self._round(generator.normal(size=shape)) if self.is_complex else real

        decay = self._round(generator.uniform(0.5, 1.0, sequence))
        if self.is_complex:
            phase = generator.uniform(-np.pi, np.pi, sequence)
            decay = self._round(decay * np.cos(phase)) + 1j * self._round(decay * np.sin(phase))
        inputs = number(sequence)
        mask = generator.random(sequence[:2]) < 0.7 if self.has_mask else None
        if self.has_mask:
            decay[~mask] = inputs[~mask] = np.nan
        return ScanArguments(
            decay,
            inputs,
            initial_state=number(state) if self.has_initial_state else None,
            reset=generator.random(sequence[:2]) < 0.2 if self.has_reset else None,
            mask=mask,
            states_weight=number(sequence),
            final_weight=number(state),
        )

    def _round(self, array):
        """The array in few enough bits for the case's dtype."""
        if self.dtype == "bfloat16":
            return (array.astype("float32").view("uint32") & 0xFFFF0000).view("float32").astype("float64")
        return array.astype(self.dtype).astype("float64")


#: Long ones are few, since JAX compiles for each.
SCAN_CASES = (
    *(ScanCase(length, batch_size) for length, batch_size in [(0, 1), (1, 3), (2, 1), (63, 3), (64, 1), (65, 3)]),
    ScanCase(1000),
    ScanCase(65, 3, reverse=True),
    ScanCase(5, 3, has_reset=True),
    ScanCase(5, 3, has_mask=True),
    ScanCase(5, 3, dtype="bfloat16", has_initial_state=False),
    ScanCase(5, 3, dtype="float64", reverse=True),
    ScanCase(2, 3, is_complex=True),
    ScanCase(65, 3, is_complex=True),
    ScanCase(5, 3, is_complex=True, dtype="bfloat16", reverse=True),
    ScanCase(5, 3, is_complex=True, dtype="float64"),
    ScanCase(65, 3, is_complex=True, reverse=True, has_reset=True, has_mask=True),
)
