"""The arguments of the implementations of `rg_lru`."""

from typing import NamedTuple

from keras_griffin.ops.recurrence.numbers import Components
from keras_griffin.shapes import Tensor


class GatedScanInputs(NamedTuple):
    """The tensors that determine decay and gated inputs; their gradients are a `GatedScanInputs` too."""

    #: x: `(real,)` or `(real, imaginary)`, each `(B, T, D)`.
    inputs: Components
    #: `(B, T, D)`.
    input_gate_logits: Tensor
    #: `(B, T, D)`.
    recurrence_gate_logits: Tensor
    #: Lambda, `(D,)`.
    decay_parameter: Tensor
    #: theta, `(D,)`, if x is complex; otherwise None.
    phase: Tensor | None
