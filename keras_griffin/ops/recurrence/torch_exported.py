"""In programs that PyTorch exports: a recurrence as one `scan` over any number of steps, without a gradient.

ONNX has a node for it, in which only the recurrence itself is done step by step.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch._higher_order_ops.scan import scan as scan_node

from keras_griffin.ops.recurrence.marks import Marks, forgetting
from keras_griffin.ops.recurrence.numbers import Components, Semiring
from keras_griffin.ops.recurrence.scan_op import ScanOp


def supports(facts) -> str | None:
    """Everything; only exported programs choose it."""
    return None


def over_steps(
    step: Callable, start: Sequence[Tensor], sequences: Sequence[Tensor]
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Run `state, results = step(state, *numbers)` for the first axis of the sequences, `(n, ...)`.

    Returns:
        (last, results): the state after the last step, and the results of all, `(n, ...)`; both are tuples, as those of
        `step`.
    """

    def body(state, numbers):
        after, results = step(tuple(state), *numbers)
        # The node's results must not share memory.
        return [x.clone() for x in after], [x.clone() for x in results]

    last, results = scan_node(body, [x.contiguous() for x in start], [x.contiguous() for x in sequences], dim=0)
    return tuple(last), tuple(results)


def over_marked_steps(
    step: Callable, start: Tensor, sequences: Sequence[Tensor], marks: Marks, nothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Outputs `(B, T, ...)` and last state of `outputs, state = step(state, *numbers)` for sequences `(B, T, ...)`."""
    marked = [mark[..., 0] for mark in (forgetting(marks), marks.mask) if mark is not None]

    def marked_step(state, *numbers):
        (before,), numbers, flags = state, numbers[: len(sequences)], [*numbers[len(sequences) :]]
        past = before if marks.reset is None else _chosen(flags.pop(0), nothing, before)
        outputs, after = step(past, *numbers)
        if marks.mask is not None:
            (mask,) = flags
            outputs, after = _chosen(mask, outputs, 0.0), _chosen(mask, after, before)
        return (after,), (outputs,)

    (last,), (outputs,) = over_steps(marked_step, (start,), [time_first(x) for x in (*sequences, *marked)])
    return time_first(outputs, back=True), last


def of_one_step(op: ScanOp) -> Callable:
    """An implementation of a scan by its one step, again and again."""

    def implementation(*arguments):
        *sequences, start, marks = arguments
        given = [x is not None for x in sequences]

        def step(state, *numbers):
            left = iter(numbers)
            sequences = (next(left)[:, None] if is_given else None for is_given in given)
            outputs, state = op.one_step(*sequences, state, Marks(None, None))
            return outputs[:, 0], state

        return over_marked_steps(step, start, [x for x in sequences if x is not None], marks)

    return implementation


def _chosen(mark, x, other):
    """By row. Not by `keras.ops`, which would make a tensor of a number, and the node can't hold one."""
    like = x if isinstance(x, Tensor) else other
    return torch.where(mark.reshape(-1, *[1] * (like.ndim - 1)), x, other)


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
