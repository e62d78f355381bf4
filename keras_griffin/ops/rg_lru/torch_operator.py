"""The derivatives of PyTorch's operators for `rg_lru`, in backward and forward mode; once, as of the square root."""

import torch

from keras_griffin.ops.linear_scan.marks import Marks
from keras_griffin.ops.linear_scan.torch_derivatives import states_before, tangent_entering
from keras_griffin.ops.rg_lru.gates import gates, gates_gradient
from keras_griffin.ops.rg_lru.unit import Unit
from keras_griffin.ops.torch_transforms import once, transformable


def with_derivatives(operator, gradient, linear_scan):
    """The operator as a function that PyTorch differentiates and transforms.

    Args:
        operator: a `torch.library.custom_op` of `(inputs, input_gate_logits, recurrence_gate_logits, decay_parameter,
            phase, initial_state, reset, mask, exponent, reverse)`, which returns states and final state as one list.
        gradient: one of `(inputs, input_gate_logits, recurrence_gate_logits, decay_parameter, phase, states,
            initial_state, reset, mask, gradients, exponent, reverse)`. It returns the gradients for inputs, both
            logits, decay parameter, phase if there is one, and initial state. Those for decay parameter and phase are
            each row's, `(B, D)`.
        linear_scan: the implementation of `linear_scan` for the same device.
    """

    def keep(ctx, inputs, output):
        *unit, initial_state, reset, mask, ctx.exponent, ctx.reverse = inputs
        ctx.parts = len(initial_state)
        ctx.save_for_backward(*unit[0], *unit[1:], *output[: ctx.parts], *initial_state, reset, mask)

    def backward(ctx, *gradients):
        kept, parts = list(ctx.saved_tensors), ctx.parts
        inputs, unit, kept = kept[:parts], kept[parts : parts + 4], kept[parts + 4 :]
        states, initial_state, marks = kept[:parts], kept[parts : 2 * parts], kept[2 * parts :]
        options = (*marks, list(gradients), ctx.exponent, ctx.reverse)
        results = iter(run_gradient(inputs, *unit, states, initial_state, *options))
        into_inputs, into_logits = [next(results) for _ in inputs], [next(results) for _ in range(2)]
        into_channels = [None if x is None else next(results).sum(0).to(x.dtype) for x in unit[2:]]
        return into_inputs, *into_logits, *into_channels, list(results), None, None, None, None

    def jvp(inputs, outputs, tangents):
        (x, *unit), (initial_state, reset, mask, exponent, reverse) = inputs[:5], inputs[5:]
        unit, marks, dtype = Unit(tuple(x), *unit), Marks(reset, mask), initial_state[0].dtype
        decay, _ = gates(unit, marks, exponent, dtype)
        decay_tangent, gated_tangent = _tangents_of_gates(unit, tangents, marks, exponent, decay)
        before = states_before(outputs[: len(decay)], initial_state, reverse)
        entering = tangent_entering(gated_tangent, decay_tangent, before, marks)
        states, final_state = linear_scan(decay, entering, tangents[5], marks, reverse)
        return once("rg_lru", (*states, *final_state))

    axes = "btd btd btd d d bd bt bt . . -> b*d"
    run = transformable("rg_lru", operator, axes, keep, backward, jvp)
    axes = "btd btd btd d d btd bd bt bt b*d . . -> b*d"
    run_gradient = transformable("rg_lru", gradient, axes)

    @gradient.register_fake
    def _(inputs, *others):
        logits, channels, initial_state = others[:2], others[2:4], others[5]
        rows = [initial_state[0] for x in channels if x is not None]
        arguments = [*inputs, *logits, *rows, *initial_state]
        return [torch.empty_like(x, memory_format=torch.contiguous_format) for x in arguments]

    return run


def _tangents_of_gates(unit, tangents, marks, exponent, decay):
    """The tangents of decay and gated inputs, by the transpose of the gradient, which is linear in theirs."""
    dtype, parts = decay[0].dtype, len(decay)

    def pull_back(*gradients):
        gradient = gates_gradient(unit, marks, exponent, dtype, gradients[:parts], gradients[parts:])
        return [x for x in (*gradient.inputs, *gradient[1:]) if x is not None]

    of_unit = [x.to(dtype) for x in (*tangents[0], *tangents[1:5]) if x is not None]
    _, push_forward = torch.func.vjp(pull_back, *(torch.zeros_like(x) for x in (*decay, *decay)))
    results = push_forward(of_unit)
    return results[:parts], results[parts:]
