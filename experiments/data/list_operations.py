"""ListOps: the value of nested lists of digits, each reduced by an operation."""

import functools
from collections.abc import Callable, Iterator

import numpy as np

from keras_griffin.checks import COUNT, checked, integer_from
from keras_griffin.tasks.seeds import Seed, generator
from keras_griffin.tasks.task_batch import TaskBatch


def _median(values: list[int]) -> int:
    """The median, that of an even number of values rounded down."""
    ordered, middle = sorted(values), len(values) // 2
    return (ordered[middle] + ordered[~middle]) // 2


#: By token, what reduces a list's values, each from 0 to 9, to another such value.
_OPERATIONS: dict[str, Callable[[list[int]], int]] = {
    "[MIN": min,
    "[MAX": max,
    "[MED": _median,
    "[SM": lambda values: sum(values) % 10,
}
#: The tokens by token id: what `list_operations` writes its rows with.
LIST_OPERATIONS_TOKENS = ("", *"0123456789", *_OPERATIONS, "]", "=")
_ZERO, _FIRST_OPERATION, _CLOSE, _EQUALS = (LIST_OPERATIONS_TOKENS.index(token) for token in ("0", "[MIN", "]", "="))
_REDUCTIONS = tuple(_OPERATIONS.values())
#: Tokens of the shortest row: two digits in a list, and "=".
_SHORTEST = 5
#: How many lists a list has among its values on average, where the depth permits.
_NESTED = 1.5
#: Lists of a wrong size after which the arguments are refused.
_ATTEMPTS = 2000


def list_operations(
    batch_size: int,
    length: int = 128,
    *,
    min_length: int = 16,
    max_depth: int = 4,
    max_arguments: int = 5,
    seed: Seed = 0,
) -> TaskBatch:
    """A list of digits and further lists, each reduced by its operation to a digit; the answer is due at "=".

        row         [MAX 2 [SM 7 8 ] 4 ] =            length 12
        token_ids     12 3  14 8 9 15 5 15 16 0 0 0
        targets        0 0   0 0 0  0 0  0  6 0 0 0
        weights        0 0   0 0 0  0 0  0  1 0 0 0

        MIN, MAX    the least and the greatest of the values
        MED         their median, that of an even number of them rounded down
        SM          their sum modulo 10

    The operations are uniform, and so is the number of a list's values, over 2 .. `max_arguments`. A value is another
    list with probability 3 / (2 + `max_arguments`), unless `max_depth` lists are open, or else a uniform digit: on
    average a list has 1.5 others among its values. A list is drawn again until it has `min_length` .. T tokens with
    its "="; the rest of the row is token 0.

    Token ids are places in `LIST_OPERATIONS_TOKENS`, 17 of them: 0 for no token, 1 + d for the digit d, 11 to 14 for
    the operations with their opening bracket, then "]" and "=".

    Reference: Nangia and Bowman 2018 (arXiv 1804.06028); Tay et al. 2020 (arXiv 2011.04006), section 2.2.1, for rows of
    a least and a greatest length.
    """
    owner = "list_operations"
    batch_size = checked(owner, COUNT, batch_size=batch_size)
    length = checked(owner, integer_from(_SHORTEST), length=length)
    min_length = checked(owner, integer_from(_SHORTEST), min_length=min_length)
    max_depth = checked(owner, COUNT, max_depth=max_depth)
    max_arguments = checked(owner, integer_from(2), max_arguments=max_arguments)
    rng = generator(owner, seed)
    draw = functools.partial(next, _uniform(rng))
    token_ids = np.zeros((batch_size, length), "int32")
    targets, weights = np.zeros_like(token_ids), np.zeros(token_ids.shape, "float32")
    for row in range(batch_size):
        for _ in range(_ATTEMPTS):
            tokens, value = _list(draw, length - 1, max_depth, max_arguments)
            if len(tokens) + 1 >= min_length:
                break
        else:
            raise ValueError(
                f"{owner}: lists of min_length to length tokens must not be rare. Got min_length {min_length}, length "
                f"{length}, max_depth {max_depth} and max_arguments {max_arguments}, and none in {_ATTEMPTS:,} lists."
            )
        token_ids[row, : len(tokens) + 1] = [*tokens, _EQUALS]
        targets[row, len(tokens)] = _ZERO + value
        weights[row, len(tokens)] = 1
    return TaskBatch(token_ids, targets, weights)


def _list(draw: Callable[[], float], most: int, max_depth: int, max_arguments: int) -> tuple[list[int], int]:
    """The tokens of a list and its value; no tokens if they would be more than so many."""
    tokens: list[int] = []
    opened: list[tuple[int, int, list[int]]] = []
    nested = 2 * _NESTED / (2 + max_arguments)
    value = None
    while len(tokens) < most:
        if value is None:
            operation, number = int(len(_REDUCTIONS) * draw()), 2 + int((max_arguments - 1) * draw())
            tokens.append(_FIRST_OPERATION + operation)
            opened.append((operation, number, []))
        else:
            opened[-1][2].append(value)
        operation, number, values = opened[-1]
        if len(values) == number:
            tokens.append(_CLOSE)
            opened.pop()
            value = _REDUCTIONS[operation](values)
            if not opened:
                return tokens, value
        elif len(opened) < max_depth and draw() < nested:
            value = None
        else:
            value = int(10 * draw())
            tokens.append(_ZERO + value)
    return [], 0


def _uniform(rng: np.random.Generator) -> Iterator[float]:
    """Uniform numbers below 1, many drawn at once: NumPy's generator takes long for a single one."""
    while True:
        yield from rng.random(1024).tolist()
