"""The derivatives of PyTorch's operators for `rg_lru`: the first by an operator, others by `portable`."""

import torch
from torch import Tensor

from keras_griffin.ops.recurrence.marks import Marks
from keras_griffin.ops.rg_lru import portable
from keras_griffin.ops.rg_lru.inputs import GatedScanInputs
from keras_griffin.ops.shared.torch_second_derivatives import are_wanted, differentiable_gradient


def with_derivatives(operator, gradient):
    """The operator with derivatives of every order.

    Args:
        operator: a `torch.library.custom_op` of `(inputs, input_gate_logits, recurrence_gate_logits, decay_parameter,
            phase, initial_state, reset, mask, exponent, reverse)`, which returns states and final state as one list.
        gradient: one of `(inputs, input_gate_logits, recurrence_gate_logits, decay_parameter, phase, states,
            initial_state, reset, mask, gradients, exponent, reverse)`. It returns the gradients for inputs, both
            logits, decay parameter, phase if there is one, and initial state. Those for decay parameter and phase are
            each row's, `(B, D)`, in the accumulation dtype.
    """

    def keep(ctx, inputs, output):
        *unit, initial_state, reset, mask, ctx.exponent, ctx.reverse = inputs
        ctx.parts = len(initial_state)
        ctx.save_for_backward(*unit[0], *unit[1:], *initial_state, *output[: ctx.parts], reset, mask)

    def backward(ctx, gradients):
        *kept, reset, mask = ctx.saved_tensors
        parts, options = ctx.parts, (ctx.exponent, ctx.reverse)
        tensors, states = kept[:-parts], kept[-parts:]
        inputs, unit, initial_state = tensors[:parts], tensors[parts:-parts], tensors[-parts:]

        def again(*tensors):
            unit = GatedScanInputs(tensors[:parts], *tensors[parts:-parts])
            results = portable.rg_lru(unit, tensors[-parts:], Marks(reset, mask), *options)
            return [x for number in results for x in number]

        into: list[Tensor | None]
        if are_wanted():
            into = list(differentiable_gradient(again, tensors, gradients))
        else:
            results = iter(gradient(inputs, *unit, states, initial_state, reset, mask, gradients, *options))
            into = [None if x is None else next(results) for x in tensors]
            for i in range(parts + 2, parts + 4):
                total = into[i]
                into[i] = None if total is None else total.sum(0).to(tensors[i].dtype)
        return into[:parts], *into[parts:-parts], into[-parts:], None, None, None, None

    operator.register_autograd(backward, setup_context=keep)

    @gradient.register_fake
    def _(inputs, *others):
        logits, channels, initial_state = others[:2], others[2:4], others[5]
        rows = [initial_state[0] for x in channels if x is not None]
        arguments = [*inputs, *logits, *rows, *initial_state]
        return [torch.empty_like(x, memory_format=torch.contiguous_format) for x in arguments]

    return operator
