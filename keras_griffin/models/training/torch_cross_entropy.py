"""The cross-entropy of logits on PyTorch, a few rows at a time: PyTorch's own fills two more arrays of their size."""

import torch
from torch import Tensor

from keras_griffin import backends
from keras_griffin.ops.shared.torch_second_derivatives import are_wanted, differentiable_gradient

#: Logits in a piece: few enough to stay in a processor's cache from one operation to the next.
TOGETHER = 2**18


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """The losses `(...)`, in the logits' dtype, of logits `(..., V)` and targets `(...)` from 0 to V - 1."""
    if backends.active().is_transformed():
        return _in_one_piece(logits, targets)
    rows = logits.reshape(-1, logits.shape[-1])
    return _CrossEntropy.apply(rows, targets.reshape(-1)).view(targets.shape)


class _CrossEntropy(torch.autograd.Function):
    """The losses `(n,)` of logits `(n, V)`."""

    @staticmethod
    def forward(ctx, logits, targets):
        log_sums = logits.new_empty(len(logits))
        for piece in _pieces(logits):
            torch.logsumexp(logits[piece], 1, out=log_sums[piece])
        ctx.save_for_backward(logits, targets, log_sums)
        return log_sums - _at_targets(logits, targets)

    @staticmethod
    def backward(ctx, cotangent):
        logits, targets, log_sums = ctx.saved_tensors
        if are_wanted():
            again = lambda logits: [_in_one_piece(logits, targets)]  # noqa: E731
            return *differentiable_gradient(again, [logits], [cotangent]), None
        into_logits = torch.empty_like(logits)
        for piece in _pieces(logits):
            torch.sub(logits[piece], log_sums[piece, None], out=into_logits[piece])
            into_logits[piece].exp_().mul_(cotangent[piece, None])
        return into_logits.scatter_add_(1, targets.long()[:, None], -cotangent[:, None]), None


def _in_one_piece(logits, targets):
    return torch.logsumexp(logits, -1) - _at_targets(logits, targets)


def _at_targets(logits, targets):
    return logits.gather(-1, targets.long()[..., None])[..., 0]


def _pieces(logits):
    """The slices of the rows that are computed together: on a GPU, whose launches cost more than its cache, all."""
    count = max(1, TOGETHER // logits.shape[1]) if logits.device.type == "cpu" else len(logits)
    return (slice(start, start + count) for start in range(0, len(logits), max(1, count)))
