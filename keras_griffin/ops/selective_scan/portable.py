"""On every backend: for each of the N numbers of a channel's state one `linear_scan`, repeated for the gradient.

Only the outputs' sum is kept, so that the states of one n at a time are in memory; see `keras.remat`.
"""

import keras
from keras import ops

from keras_griffin import backends
from keras_griffin.ops.linear_scan import linear_scan
from keras_griffin.ops.selective_scan.inputs import SelectiveScanInputs, with_mask_applied
from keras_griffin.shapes import Tensor


def supports(facts) -> str | None:
    """Everything but float64 on NumPy, where Keras computes in float32."""
    return "computes in float32" if (facts.backend, facts.dtype) == ("numpy", "float64") else None


@with_mask_applied
def selective_scan(
    selection: SelectiveScanInputs, initial_state: Tensor, reset: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The outputs and the last state; see the package."""
    inputs, sizes, rates, b, c = (ops.cast(x, initial_state.dtype) for x in selection)
    entering = sizes * inputs

    def one(outputs, rate, b, c, start, sizes, entering):
        states, final_state = linear_scan(ops.exp(sizes * rate), entering * ops.expand_dims(b, -1), start, reset=reset)
        return outputs + states * ops.expand_dims(c, -1), final_state

    # PyTorch's transforms can't follow PyTorch's way to repeat.
    once = not backends.has_gradients() or backends.active().is_transformed()
    again = one if once else keras.remat(one)
    # On JAX a loop, since XLA would run independent scans at the same time, with all of their states in memory.
    in_turn = ops.scan if keras.backend.backend() == "jax" else _in_turn
    numbers = ops.transpose(rates), *(ops.transpose(x, (2, 0, 1)) for x in (b, c, initial_state))
    outputs, final_states = in_turn(lambda y, xs: again(y, *xs, sizes, entering), ops.zeros_like(entering), numbers)
    return outputs, ops.transpose(final_states, (1, 2, 0))


def _in_turn(step, carried, numbers):
    """`ops.scan` as Python's loop: TensorFlow's has no gradient through `keras.remat`."""
    results = []
    for n in range(numbers[0].shape[0]):
        carried, result = step(carried, [x[n] for x in numbers])
        results.append(result)
    return carried, ops.stack(results)
