"""The arguments of the implementations of `selective_scan`."""

from typing import NamedTuple

from keras_griffin.shapes import Tensor


class SelectiveScanInputs(NamedTuple):
    """The tensors that determine decays, gated inputs and outputs; their gradients are a `SelectiveScanInputs` too."""

    #: u, `(B, T, D)`.
    inputs: Tensor
    #: s, `(B, T, D)`.
    step_sizes: Tensor
    #: A, `(D, N)`.
    rates: Tensor
    #: b, `(B, T, N)`.
    input_weights: Tensor
    #: c, `(B, T, N)`.
    output_weights: Tensor
