"""In programs that PyTorch exports: a recurrence as one `scan` over any number of steps, without a gradient.

ONNX has a node for it, in which only the recurrence itself is done step by step.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch._higher_order_ops.scan import scan as scan_node

from keras_griffin.ops.recurrence.numbers import Components, Semiring


def supports(facts) -> str | None:
    """Everything; only exported programs choose it."""
    return None


def over_steps(
    step: Callable, start: Sequence[Tensor], sequences: Sequence[Tensor]
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Run `state, results = step(state, *numbers)` for the first axis of the sequences, `(n, ...)`.

    Returns:
        (last, results): the state after the last step, and the results of all, `(n, ...)`; both are tuples, as those of
        `step`, which closes over no tensor.
    """

    def body(state, numbers):
        after, results = step(tuple(state), *numbers)
        # The node's results must not share memory.
        return [x.clone() for x in after], [x.clone() for x in results]

    last, results = scan_node(body, [x.contiguous() for x in start], [x.contiguous() for x in sequences], dim=0)
    return tuple(last), tuple(results)


def scan(
    decay: Components,
    inputs: Components,
    initial_state: Components,
    forgotten: Tensor | None,
    reverse: bool,
    semiring: Semiring,
) -> tuple[Components, Components]:
    """The contract is `prefix.scan`."""
    size = len(inputs)

    def step(state, *numbers):
        past = semiring.times(state, numbers[:size])
        if forgotten is not None:
            # Not by `keras.ops`, which would make a tensor of the number, and the node can't hold one.
            past = tuple(torch.where(numbers[-1], semiring.zero, x) for x in past)
        state = semiring.plus(past, numbers[size : 2 * size])
        return state, state

    sequences = [*decay, *inputs, *([] if forgotten is None else [forgotten])]
    last, states = over_steps(step, initial_state, [time_first(x, reverse) for x in sequences])
    return tuple(time_first(x, reverse, back=True) for x in states), last


def time_first(x: Tensor, reverse: bool = False, back: bool = False) -> Tensor:
    """`(B, T, ...)` as `(T, B, ...)`, from the last step to the first if `reverse`; or back."""
    if back:
        return torch.flip(x, (0,)).transpose(0, 1) if reverse else x.transpose(0, 1)
    x = x.transpose(0, 1)
    return torch.flip(x, (0,)) if reverse else x
