"""The derivatives of PyTorch's operators for `linear_scan`: the first by an operator, the others by scans."""

from keras_griffin.ops.linear_scan import SCAN
from keras_griffin.ops.recurrence.gradient import gradient_by_scan
from keras_griffin.ops.recurrence.marks import Marks, apply_marks, forgetting, zero_where
from keras_griffin.ops.shared.torch_second_derivatives import are_wanted


def with_derivatives(operator, gradient):
    """The operator with derivatives of every order.

    Args:
        operator: a `torch.library.custom_op` of `(decay, inputs, initial_state, *marks, reverse)`; it returns states
            and last state as one list. The marks are where the past is forgotten, or resets and mask.
        gradient: one of `(decay, states, initial_state, *marks, gradients, reverse)`, where `gradients` are those for
            states and last state; it returns the gradients for decay, inputs and initial_state as one list.
    """

    def keep(ctx, inputs, output):
        decay, _, initial_state, *marks, ctx.reverse = inputs
        ctx.save_for_backward(*decay, *output[: len(decay)], *initial_state, *marks)

    def backward(ctx, gradients):
        parts = len(gradients) // 2
        *numbers, marks = _split(ctx.saved_tensors, parts)
        compute = _gradient_by_scan if are_wanted() else gradient
        *into, _ = _split(compute(*numbers, *marks, gradients, ctx.reverse), parts)
        return *into, *(None for _ in marks), None

    operator.register_autograd(backward, setup_context=keep)
    return operator


def _gradient_by_scan(decay, states, initial_state, reset, *others):
    """What `gradient` computes, in operations that PyTorch differentiates."""
    *mask, gradients, reverse = others
    marks, parts, dtype = Marks(reset, *(mask or [None])), len(decay), initial_state[0].dtype
    decay_in_full, _ = apply_marks(tuple(decay), (), marks, dtype)
    numbers = (states, gradients[:parts], gradients[parts:])
    states_in_full, into_states, into_final = (tuple(x.to(dtype) for x in number) for number in numbers)

    def scan(decay, inputs, initial_state, forgotten, reverse):
        reset = None if forgotten is None else forgotten[..., 0]
        return SCAN.run(decay, inputs, initial_state, reset, None, reverse=reverse)

    arguments = decay_in_full, states_in_full, tuple(initial_state), forgetting(marks), (into_states, into_final)
    into_decay, into_inputs, into_start = gradient_by_scan(scan, *arguments, reverse)
    masked = None if marks.mask is None else ~marks.mask
    into = (*zero_where(masked, into_decay), *zero_where(masked, into_inputs), *into_start)
    return [x.to(like.dtype) for x, like in zip(into, (*decay, *states, *initial_state), strict=True)]


def _split(tensors, parts):
    """Three numbers, each a list of components, and the list of what follows them."""
    return *(list(tensors[i * parts : (i + 1) * parts]) for i in range(3)), list(tensors[3 * parts :])
