"""Forward-mode differentiation, for which the package's operators have no rule on PyTorch."""

from torch.autograd import forward_ad


def refuse_forward_mode(op_name: str, tensors) -> None:
    """Raise in PyTorch's forward mode: without a rule for it, an operator's derivatives would be zeros.

    Args:
        op_name: the op's name, for error messages.
        tensors: the op's tensors that may have tangents.

    Raises:
        NotImplementedError: one of them has a tangent.
    """
    # Without a level there are no tangents, and checking each tensor would take microseconds.
    if forward_ad._current_level < 0:
        return
    if any(forward_ad.unpack_dual(tensor).tangent is not None for tensor in tensors if tensor is not None):
        raise NotImplementedError(
            f"{op_name}: forward mode (torch.func.jvp, torch.func.jacfwd, torch.autograd.forward_ad) has no rule; "
            "use backward mode (torch.func.vjp, torch.autograd.grad). Got a tensor with a tangent."
        )
