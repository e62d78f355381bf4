"""The gradient of PyTorch's operators for `rg_lru`: what is saved for it, and what it returns."""

import torch


def register_gradient(operator, gradient):
    """Make an operator differentiable through another one.

    Args:
        operator: a `torch.library.custom_op` of `(inputs, input_gate_logits, recurrence_gate_logits, decay_parameter,
            phase, initial_state, reset, mask, exponent, reverse)`, which returns states and final state as one list.
        gradient: one of `(inputs, input_gate_logits, recurrence_gate_logits, decay_parameter, phase, states,
            initial_state, reset, mask, gradients, exponent, reverse)`. It returns the gradients for inputs, both
            logits, decay parameter, phase if there is one, and initial state.
    """

    def keep(ctx, inputs, output):
        *unit, initial_state, reset, mask, ctx.exponent, ctx.reverse = inputs
        ctx.parts = len(initial_state)
        ctx.save_for_backward(*unit[0], *unit[1:], *output[: ctx.parts], *initial_state, reset, mask)

    def backward(ctx, gradients):
        kept, parts = list(ctx.saved_tensors), ctx.parts
        inputs, unit, kept = kept[:parts], kept[parts : parts + 4], kept[parts + 4 :]
        states, initial_state, marks = kept[:parts], kept[parts : 2 * parts], kept[2 * parts :]
        options = (*marks, list(gradients), ctx.exponent, ctx.reverse)
        results = iter(gradient(inputs, *unit, states, initial_state, *options))
        into_inputs = [next(results) for _ in inputs]
        into_unit = [None if x is None else next(results) for x in unit]
        return into_inputs, *into_unit, list(results), None, None, None, None

    operator.register_autograd(backward, setup_context=keep)

    @gradient.register_fake
    def _(inputs, *others):
        unit, initial_state = others[:4], others[5]
        arguments = [x for x in (*inputs, *unit, *initial_state) if x is not None]
        return [torch.empty_like(x, memory_format=torch.contiguous_format) for x in arguments]
