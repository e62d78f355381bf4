"""The decoding loop: logits, a token, the state after it."""

import keras
import numpy as np
from keras import ops

from keras_griffin.generation.capacity import at_the_same_capacity
from keras_griffin.generation.compilers.compile import compiles, prepared
from keras_griffin.generation.prompt import PAD_ID
from keras_griffin.generation.samplers import Sampler
from keras_griffin.shapes import State, Tensor


def consume(model, state: State, token_ids: np.ndarray, mask: np.ndarray | None) -> State:
    """The state after the tokens `(B, T)`, which continue each row's document; steps with a False mask are skipped."""
    # Donates the state, which must have room if it grows.
    arguments = (token_ids,) if mask is None else (token_ids, mask)
    return prepared(_consume, model)(state, *arguments)


def decode(
    model,
    sampler: Sampler,
    state: State,
    alive: Tensor,
    uniform: np.ndarray,
    steps: int,
    stop_ids: np.ndarray,
    history: tuple[Tensor, ...] = (),
):
    """Continue every row that is `alive (B,)` by up to `steps` tokens; a row is not alive after its first stop id.

    `uniform (n, B)` has the sampler's random numbers, n at least `steps`. `history` is `(B, V)` bool, the tokens that
    each row has met, for a sampler that uses it. The state is donated, and must have room if it grows. The result is
    `(token_ids (B, t), state, alive, history)`, t at most `steps`, with 0 after a row's end.
    """
    if compiles():
        run = prepared(_decode, model, sampler=sampler)
        count, token_ids, state, alive, *history = run(
            state, alive, uniform, np.asarray(steps, "int32"), stop_ids, *history
        )
        return ops.convert_to_numpy(token_ids)[: int(count)].T, state, alive, tuple(history)
    run = prepared(_step, model, is_step=True, sampler=sampler)
    made = []
    has_stops = stop_ids.size > 0
    # Once, rather than at every step.
    uniform, stop_ids = ops.convert_to_tensor(uniform), ops.convert_to_tensor(stop_ids)
    for step in range(min(steps, len(uniform))):
        if has_stops and not np.any(ops.convert_to_numpy(alive)):
            break
        ids, state, alive, *history = run(state, alive, uniform[step], stop_ids, *history)
        made.append(ids)
    token_ids = np.array([ops.convert_to_numpy(ids) for ids in made], "int32").reshape(-1, len(alive)).T
    return token_ids, state, alive, tuple(history)


def advanced(model, state, token_ids, mask=None):
    """The last block's outputs for the tokens, and the state after them, of the same capacity; not compiled."""
    segment_ids = None
    if mask is not None:
        # Every row continues its current document, whatever its segment id.
        segment_ids = ops.where(mask, ops.maximum(state.segment, 1)[:, None], 0)
    outputs, after = model.advance_without_logits(token_ids, state, segment_ids=segment_ids)
    return outputs, at_the_same_capacity(after, state)


def _consume(model, state, token_ids, mask=None):
    return advanced(model, state, token_ids, mask)[1]


def _decode(model, state, alive, uniform, steps, stop_ids, *history, sampler):
    """`decode` as one loop of the backend."""
    places = ops.arange(uniform.shape[0], dtype="int32")[:, None]
    token_ids = ops.full(uniform.shape, PAD_ID, "int32")

    def goes_on(step, token_ids, state, alive, *history):
        return ops.logical_and(step < steps, ops.any(alive))

    def go_on(step, token_ids, state, alive, *history):
        numbers = ops.take(uniform, step, axis=0)
        ids, *after = _step(model, state, alive, numbers, stop_ids, *history, sampler=sampler)
        return step + 1, ops.where(places == step, ids, token_ids), *after

    return ops.while_loop(goes_on, go_on, (ops.zeros((), "int32"), token_ids, state, alive, *history))


def _step(model, state, alive, uniform, stop_ids, *history, sampler):
    chosen = ops.cast(sampler(model.logits(state.last[:, None])[:, 0], uniform, *history), "int32")
    ids = ops.where(alive, chosen, PAD_ID)
    history = tuple([ops.logical_or(met, ids[:, None] == ops.arange(met.shape[1], dtype="int32")) for met in history])
    # An id outside the vocabulary is reported later, from NumPy; it must not index the embedding on a device.
    after = _consume(model, state, ops.clip(ids, 0, model.config.vocabulary_size - 1)[:, None])
    if stop_ids.shape[0]:
        # A row that has stopped has read its stop id, and no longer changes.
        after = keras.tree.map_structure(lambda new, old: _in_rows(alive, new, old), after, state)
        alive = ops.logical_and(alive, ops.logical_not(ops.any(ids[:, None] == stop_ids, axis=1)))
    return ids, after, alive, *history


def _in_rows(chosen, new, old):
    return ops.where(ops.reshape(chosen, (-1, *[1] * (len(new.shape) - 1))), new, old)
