"""On every backend: matrix products within chunks, and a `linear_scan` from chunk to chunk, with `keras.ops`."""

import math

from keras import ops

from keras_griffin import backends
from keras_griffin.ops import chunked
from keras_griffin.ops.chunked.contained import contained
from keras_griffin.ops.chunked.halves import (
    STRONGEST,
    at_least,
    chunk_length,
    decayed_products,
    decays,
    in_chunks,
    sums,
)
from keras_griffin.ops.gated_linear_attention.heads import turned
from keras_griffin.ops.linear_scan import linear_scan
from keras_griffin.ops.recurrence.numbers import components_of, number_of
from keras_griffin.ops.rotary_embedding import Rotation, rotated
from keras_griffin.ops.shared.padding import first_steps

supports = chunked.supports


@backends.active().compiled
def gated_linear_attention(query, key, value, log_decay, angles, initial_state, marks):
    """The outputs and the last state; see the package."""
    return _attend(query, key, value, at_least(log_decay), angles, initial_state, marks)


@contained
def _attend(query, key, value, log_decay, angles, initial_state, reset):
    num_heads, groups, length = value.shape[2], query.shape[2], ops.shape(value)[1]
    size = chunk_length(value.shape[1])
    by_head = log_decay.shape[-1] == 1
    if reset is not None:
        log_decay = ops.where(reset[..., None, None], STRONGEST, log_decay)

    def chunks(x):
        """`(B, T, N, H)` as `(B, n, G, N / G, C, H)`."""
        x = in_chunks(ops.cast(x, initial_state.dtype), size)
        x = ops.reshape(x, (*ops.shape(x)[:3], groups, x.shape[3] // groups, x.shape[4]))
        return ops.transpose(x, (0, 1, 3, 4, 2, 5))

    query, key, value, log_decay = map(chunks, (query, key, value, log_decay))
    if angles is not None:
        angles = _sums(chunks(angles))
        query, key = (rotated(x, Rotation(ops.cos(angles), -ops.sin(angles))) for x in (query, key))
    since_start, to_end = sums(log_decay)
    until, after = ops.exp(since_start), ops.exp(to_end)
    if by_head:
        scores = (query @ ops.swapaxes(key, -1, -2)) * decays(log_decay)
        entering = ops.swapaxes(key, -1, -2) @ (value * after)
    else:
        query, key = (x + ops.zeros_like(log_decay) for x in (query, key))
        scores = decayed_products(query, key, log_decay)
        entering = ops.swapaxes(key * after, -1, -2) @ value
    states, final_state = _carried(entering, until[..., -1, :], initial_state, angles)
    read = (query @ states) * until if by_head else (query * until) @ states
    outputs = scores @ value + read
    rows, count, *_, channels = ops.shape(outputs)
    outputs = ops.reshape(ops.transpose(outputs, (0, 1, 4, 2, 3, 5)), (rows, count * size, num_heads, channels))
    return first_steps(outputs, length), final_state


def _carried(entering, decay, start, angles):
    """The state before each chunk, `(B, n, G, N / G, H, P)`, and the last one, from what enters during each chunk."""
    shape = ops.shape(entering)
    decay = decay[..., None]
    start = ops.reshape(start, (shape[0], 1, *shape[2:]))
    if angles is None:
        (states,), (last,) = _scan((decay,), (entering,), (start,))
    else:
        # Pairs of rows are complex numbers, and a chunk's turn is a factor.
        angles = angles[..., -1, :]
        turn = (ops.cos(angles)[..., None], ops.sin(angles)[..., None])
        parts = _scan([decay * x for x in turn], ops.split(turned(entering, angles), 2, -2), ops.split(start, 2, -2))
        states, last = (ops.concatenate(part, axis=-2) for part in parts)
    states = ops.concatenate([start, states[:, :-1]], axis=1)
    return states, ops.reshape(last, (shape[0], math.prod(shape[2:4]), *shape[4:]))


def _scan(decay, inputs, start):
    """`linear_scan` of numbers of any shape, `(B, n, ...)`, as components; the start is `(B, 1, ...)`."""
    shape = ops.shape(inputs[0])
    width = math.prod(shape[2:])
    states, last = linear_scan(
        number_of(tuple(ops.reshape(a + ops.zeros_like(inputs[0]), (*shape[:2], width)) for a in decay)),
        number_of(tuple(ops.reshape(x, (*shape[:2], width)) for x in inputs)),
        number_of(tuple(ops.reshape(h, (shape[0], width)) for h in start)),
    )
    parts = components_of(states), components_of(last)
    return [ops.reshape(x, shape) for x in parts[0]], [ops.reshape(h, (shape[0], *shape[2:])) for h in parts[1]]


def _sums(angles):
    """The sums of angles up to and with each step of a chunk, `(..., C, H / 2)`, within a turn."""
    sums, size = _wrapped(angles), 1
    *lead, length, channels = ops.shape(angles)
    while size < length:
        first, second = ops.split(ops.reshape(sums, (*lead, length // (2 * size), 2, size, channels)), 2, axis=-3)
        # Rounding is that of a turn's size, not of the whole sum's.
        sums = ops.concatenate([first, _wrapped(second + first[..., -1:, :])], axis=-3)
        sums = ops.reshape(sums, (*lead, length, channels))
        size *= 2
    return sums


def _wrapped(angles):
    """The angles between -pi and pi."""
    return angles - 2 * math.pi * ops.stop_gradient(ops.round(angles / (2 * math.pi)))
