"""AdamW's update on PyTorch in one pass over memory on a CPU, and in few launches on a GPU; Keras's takes fifteen."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import keras
import torch
from torch import Tensor

#: On a CPU, numbers that are updated together: few enough for their clipped gradients to stay in the cache.
TOGETHER = 2**20


class Slots(NamedTuple):
    """A weight, its gradient, and its first and second moment."""

    weight: Tensor
    gradient: Tensor
    first: Tensor
    second: Tensor


def serves(optimizer) -> bool:
    """Whether an `AdamW` can be updated here: its tensors are PyTorch's own, dense and in order, and on one device."""
    # Not while Inductor compiles, nor in a `keras.StatelessScope`.
    if torch.compiler.is_compiling() or optimizer.amsgrad or optimizer.clipnorm or optimizer.clipvalue:
        return False
    # In a scope Keras puts off the creation of variables.
    if keras.Variable("zeros", (), name="probe")._value is None:
        return False
    weights = optimizer._trainable_variables
    if len({variable.value.device for variable in weights}) > 1:
        return False
    return all(map(_are_alike, zip(weights, optimizer._momentums, optimizer._velocities, strict=True)))


def _are_alike(variables) -> bool:
    # A variable that float8 training overwrites with its gradient has no moments.
    if any(variable is None for variable in variables):
        return False
    tensors = [variable.value for variable in variables]
    return len({(tensor.dtype, tensor.device) for tensor in tensors}) == 1 and all(
        type(tensor) in (Tensor, torch.nn.Parameter) and tensor.layout == torch.strided and tensor.is_contiguous()
        for tensor in tensors
    )


@torch.no_grad()
def without_nonfinite(gradients: Sequence[Tensor | None], norm: Tensor | None = None):
    """The gradients, or zeros if their norm, here or given, is not finite; and whether it is."""
    finite = torch.isfinite(global_norm([g for g in gradients if g is not None]) if norm is None else norm)
    if finite.device.type == "cpu":
        # No copies in the usual case. On a GPU, asking would wait for it.
        return [g if g is None or finite else torch.zeros_like(g) for g in gradients], finite
    return [g if g is None else torch.where(finite, g, 0.0) for g in gradients], finite


@torch.no_grad()
def global_norm(gradients: Sequence[Tensor]) -> Tensor:
    """The norm of all gradients together, in float32 or more; 0 of none."""
    if not gradients:
        return torch.zeros(())
    norms = [torch.linalg.vector_norm(g, dtype=torch.promote_types(g.dtype, torch.float32)) for g in gradients]
    return torch.linalg.vector_norm(torch.stack(norms))


@torch.no_grad()
def update(optimizer, gradients: Sequence[Tensor], variables, learning_rate) -> None:
    """Clip by the global norm, decay the weights and update them, in place; the gradients stay as they are."""
    limit, drops = optimizer.global_clipnorm, optimizer._drops_in_updates
    # One norm for both: it reads every gradient.
    norm = global_norm(gradients) if limit or drops else None
    if drops:
        gradients, finite = without_nonfinite(gradients, norm)
        norm = torch.where(finite, norm, 0.0)
        optimizer._count(finite)
    scale = limit / torch.clamp(norm, min=limit) if limit else None
    groups: dict[tuple[float, float], list[Slots]] = {}
    for gradient, variable in zip(gradients, variables, strict=True):
        place = optimizer._get_variable_index(variable)
        weight = variable.value
        moments = optimizer._momentums[place].value, optimizer._velocities[place].value
        decay = optimizer.weight_decay if optimizer._use_weight_decay(variable) else 0.0
        kind = optimizer._rate(variable, 1.0), decay
        groups.setdefault(kind, []).append(Slots(weight, gradient.to(weight.dtype).contiguous(), *moments))
    n, rate = (torch.as_tensor(x) for x in (optimizer.iterations + 1, keras.ops.convert_to_tensor(learning_rate)))
    for (share, decay), slots in groups.items():
        if slots[0].weight.device.type == "cpu":
            scale = None if scale is None or scale == 1.0 else scale
            _in_one_pass(optimizer, slots, scale, n, share * rate, decay)
        else:
            _in_few_launches(optimizer, slots, scale, n, share * rate, decay)


def _in_one_pass(optimizer, slots, scale, n, rate, decay):
    """Update weights that share a rate and a decay; `n` counts updates from 1."""
    n = float(n)
    # PyTorch divides the second moment by its bias before it adds epsilon, Keras afterwards.
    epsilon = optimizer.epsilon / (1 - optimizer.beta_2**n) ** 0.5
    betas = {"beta1": optimizer.beta_1, "beta2": optimizer.beta_2}
    numbers = {**betas, "weight_decay": decay, "lr": float(rate), "eps": epsilon, "amsgrad": False, "maximize": False}
    # PyTorch counts from 1, in a tensor for each weight.
    step = torch.tensor(n)
    for pieces in _in_cache(slots):
        weights, gradients, firsts, seconds = map(list, zip(*pieces, strict=True))
        if scale is not None:
            gradients = torch._foreach_mul(gradients, scale)
        torch._fused_adamw_(weights, gradients, firsts, seconds, [], [step] * len(weights), **numbers)


def _in_cache(slots) -> Iterator[list[Slots]]:
    """The slots as groups of at most `TOGETHER` numbers, the large ones cut."""
    group: list[Slots] = []
    room = TOGETHER
    for each in slots:
        flat = Slots(*(tensor.view(-1) for tensor in each))
        for start in range(0, len(flat.weight), TOGETHER):
            piece = Slots(*(tensor[start : start + TOGETHER] for tensor in flat))
            if len(piece.weight) > room:
                yield group
                group, room = [], TOGETHER
            group.append(piece)
            room -= len(piece.weight)
    if group:
        yield group


def _in_few_launches(optimizer, slots, scale, n, rate, decay):
    """The same by Keras's formula on lists of tensors; nothing is read back from the device."""
    weights, gradients, firsts, seconds = map(list, zip(*slots, strict=True))
    if scale is not None:
        gradients = torch._foreach_mul(gradients, scale)
    torch._foreach_lerp_(firsts, gradients, 1 - optimizer.beta_1)
    torch._foreach_mul_(seconds, optimizer.beta_2)
    torch._foreach_addcmul_(seconds, gradients, gradients, 1 - optimizer.beta_2)
    denominators = torch._foreach_sqrt(seconds)
    torch._foreach_add_(denominators, optimizer.epsilon)
    steps = torch._foreach_div(firsts, denominators)
    n = n.double()
    torch._foreach_mul_(steps, rate * torch.sqrt(1 - optimizer.beta_2**n) / (1 - optimizer.beta_1**n))
    if decay:
        torch._foreach_mul_(weights, 1 - rate * decay)
    torch._foreach_sub_(weights, steps)
