"""In programs that TensorFlow exports: one `linear_scan` of all numbers of the state, which needs no XLA."""

from keras import ops

from keras_griffin.ops.linear_scan import linear_scan
from keras_griffin.ops.selective_scan.inputs import with_mask_applied


def supports(facts) -> str | None:
    """Everything; only exported programs choose it."""
    return None


@with_mask_applied
def selective_scan(selection, initial_state, reset):
    """The outputs and the last state; see the package."""
    inputs, sizes, rates, b, c = (ops.cast(x, initial_state.dtype) for x in selection)
    batch_size, length, width = ops.shape(inputs)
    apart = (batch_size, length, width, rates.shape[1])
    decay = ops.exp(ops.expand_dims(sizes, -1) * rates)
    entering = ops.expand_dims(sizes * inputs, -1) * ops.expand_dims(b, 2)
    decay, entering = (ops.reshape(x, (batch_size, length, width * rates.shape[1])) for x in (decay, entering))
    start = ops.reshape(initial_state, (batch_size, width * rates.shape[1]))
    states, final_state = linear_scan(decay, entering, start, reset=reset)
    outputs = ops.sum(ops.reshape(states, apart) * ops.expand_dims(c, 2), axis=-1)
    return outputs, ops.reshape(final_state, (batch_size, width, rates.shape[1]))
