"""On every backend: for each of the N numbers of a channel's state one `linear_scan`, repeated for the gradient.

Only the outputs' sum is kept, so that the states of one n at a time are in memory; see `keras.remat`.
"""

import keras
from keras import ops

from keras_griffin.ops.linear_scan import linear_scan
from keras_griffin.ops.selective_scan.hidden import on_hidden
from keras_griffin.ops.selective_scan.selection import Selection
from keras_griffin.shapes import Tensor


def supports(facts) -> str | None:
    """Everything but float64 on NumPy, where Keras computes in float32."""
    return "computes in float32" if (facts.backend, facts.dtype) == ("numpy", "float64") else None


@on_hidden
def selective_scan(selection: Selection, initial_state: Tensor, reset: Tensor | None) -> tuple[Tensor, Tensor]:
    """The outputs and the last state; see the package."""
    inputs, sizes, rates, b, c = (ops.cast(x, initial_state.dtype) for x in selection)
    entering = sizes * inputs

    def one(sizes, entering, rate, b, c, start):
        states, final_state = linear_scan(ops.exp(sizes * rate), entering * b, start, reset=reset)
        return states * c, final_state

    again = one if keras.backend.backend() in ("numpy", "openvino") else keras.remat(one)
    outputs, final_states = 0.0, []
    for n in range(rates.shape[1]):
        numbers = rates[:, n], b[..., n : n + 1], c[..., n : n + 1], initial_state[..., n]
        part, final_state = again(sizes, entering, *numbers)
        outputs = outputs + part
        final_states.append(final_state)
    return outputs, ops.stack(final_states, axis=-1)
