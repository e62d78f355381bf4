"""On PyTorch: a few rows' logits at a time, recomputed for the gradient, in the same memory."""

import torch

from keras_griffin.ops.linear_cross_entropy import portable
from keras_griffin.ops.linear_cross_entropy.chunks import steps_in_chunk
from keras_griffin.ops.shared.torch_second_derivatives import are_wanted, differentiable_gradient


def supports(facts) -> str | None:
    """Everything on PyTorch."""
    return None


def linear_cross_entropy(inputs, table, targets, soft_cap):
    """The contract is `keras_griffin.ops.linear_cross_entropy`."""
    losses = _CrossEntropy.apply(inputs.flatten(0, 1), table, targets.reshape(-1), soft_cap)
    return losses.view(targets.shape)


class _CrossEntropy(torch.autograd.Function):
    """The losses `(n,)` of rows `(n, D)`."""

    @staticmethod
    def forward(ctx, rows, table, targets, soft_cap):
        log_sums = rows.new_empty(len(rows), dtype=torch.promote_types(rows.dtype, torch.float32))
        losses = torch.empty_like(log_sums)
        for chunk in _chunks(rows, table):
            logits = _logits(rows[chunk], table, soft_cap)
            wanted = logits.gather(1, _places(targets[chunk]))[:, 0]
            torch.logsumexp(logits, 1, out=log_sums[chunk])
            torch.sub(log_sums[chunk], wanted, out=losses[chunk])
        ctx.soft_cap = soft_cap
        ctx.save_for_backward(rows, table, targets, log_sums)
        return losses.masked_fill_(targets < 0, torch.nan)

    @staticmethod
    def backward(ctx, cotangent):
        rows, table, targets, log_sums = ctx.saved_tensors
        if are_wanted():
            again = lambda *x: [portable.linear_cross_entropy(*x, targets, ctx.soft_cap)]  # noqa: E731
            return *differentiable_gradient(again, (rows, table), [cotangent]), None, None
        # A frozen table, as with adapters, needs no gradient, which would be a third of the work and the largest array.
        has_table = ctx.needs_input_grad[1]
        return *_gradient(rows, table, targets, log_sums, cotangent, ctx.soft_cap, has_table), None, None


def _gradient(rows, table, targets, log_sums, cotangent, soft_cap, has_table):
    """The gradients for rows and table; None for a table that needs none."""
    cotangent = cotangent.masked_fill(targets < 0, torch.nan)
    into_rows = torch.empty_like(rows, memory_format=torch.contiguous_format)
    into_table = None
    if has_table:
        into_table = torch.zeros_like(table, dtype=log_sums.dtype, memory_format=torch.contiguous_format)
    for chunk in _chunks(rows, table):
        logits = _logits(rows[chunk], table, soft_cap)
        # The derivative of c tanh(u / c) with respect to u, from its value.
        slope = None if soft_cap is None else 1.0 - (logits / soft_cap) ** 2
        into_logits = logits.sub_(log_sums[chunk, None]).exp_()
        places = _places(targets[chunk])
        into_logits.scatter_add_(1, places, -torch.ones_like(places, dtype=into_logits.dtype))
        into_logits.mul_(cotangent[chunk, None])
        if slope is not None:
            into_logits.mul_(slope)
        into_logits = into_logits.to(rows.dtype)
        torch.mm(into_logits, table, out=into_rows[chunk])
        if into_table is None:
            continue
        if into_table.dtype == rows.dtype:
            into_table.addmm_(into_logits.T, rows[chunk])
        else:
            into_table.add_(into_logits.T @ rows[chunk])
    return into_rows, None if into_table is None else into_table.to(table.dtype)


def _places(targets):
    """The index of each target among its logits; 0 for a target outside the vocabulary."""
    return targets[:, None].clamp(min=0).long()


def _logits(rows, table, soft_cap):
    logits = (rows @ table.T).to(torch.promote_types(rows.dtype, torch.float32))
    return logits if soft_cap is None else logits.div_(soft_cap).tanh_().mul_(soft_cap)


def _chunks(rows, table):
    """The slices of the rows that are computed together."""
    count = steps_in_chunk(1, len(rows), len(table))
    return (slice(start, start + count) for start in range(0, len(rows), count))
