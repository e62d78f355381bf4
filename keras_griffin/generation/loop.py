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
    """The state after the tokens `(B, T)`, which continue each row's document; steps with a False mask are skipped.

    A state that grows must have room for them. The given state is donated.
    """
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
    met: tuple[Tensor, ...] = (),
):
    """Continue every row that is alive by up to `steps` tokens.

    Args:
        model: with `advance_without_logits` and `logits`.
        sampler: chooses tokens.
        state: of the rows; it is donated, and must have room if it grows.
        alive: `(B,)` bool: the rows to continue.
        uniform: `(n, B)` float32, with n at least `steps`: the sampler's random numbers.
        steps: the maximum number of tokens; fewer are generated if no row is alive any longer.
        stop_ids: `(S,)`: a row reads its first stop id and is not alive after it.
        met: for a sampler that reads it, `(B, V)` bool: the tokens that each row has met; otherwise empty.

    Returns:
        (token_ids, state, alive, met): `(B, t)` int32 with t at most `steps`, filled with 0 after a row's end; the
        state after them; which rows are alive; and the tokens that each row has met.
    """
    if compiles():
        run = prepared(_decode, model, sampler=sampler)
        count, token_ids, state, alive, *met = run(state, alive, uniform, np.asarray(steps, "int32"), stop_ids, *met)
        return ops.convert_to_numpy(token_ids)[: int(count)].T, state, alive, tuple(met)
    run = prepared(_step, model, is_step=True, sampler=sampler)
    made = []
    has_stops = stop_ids.size > 0
    # Once, rather than at every step.
    uniform, stop_ids = ops.convert_to_tensor(uniform), ops.convert_to_tensor(stop_ids)
    for step in range(min(steps, len(uniform))):
        if has_stops and not np.any(ops.convert_to_numpy(alive)):
            break
        ids, state, alive, *met = run(state, alive, uniform[step], stop_ids, *met)
        made.append(ids)
    token_ids = np.array([ops.convert_to_numpy(ids) for ids in made], "int32").reshape(-1, len(alive)).T
    return token_ids, state, alive, tuple(met)


def _consume(model, state, token_ids, mask=None):
    segment_ids = None
    if mask is not None:
        # Every row continues its current document, whatever its segment id.
        segment_ids = ops.where(mask, ops.maximum(state.segment, 1)[:, None], 0)
    return at_the_same_capacity(model.advance_without_logits(token_ids, state, segment_ids=segment_ids)[1], state)


def _decode(model, state, alive, uniform, steps, stop_ids, *met, sampler):
    """`decode` as one loop of the backend."""
    places = ops.arange(uniform.shape[0], dtype="int32")[:, None]
    token_ids = ops.full(uniform.shape, PAD_ID, "int32")

    def goes_on(step, token_ids, state, alive, *met):
        return ops.logical_and(step < steps, ops.any(alive))

    def go_on(step, token_ids, state, alive, *met):
        numbers = ops.take(uniform, step, axis=0)
        ids, *after = _step(model, state, alive, numbers, stop_ids, *met, sampler=sampler)
        return step + 1, ops.where(places == step, ids, token_ids), *after

    return ops.while_loop(goes_on, go_on, (ops.zeros((), "int32"), token_ids, state, alive, *met))


def _step(model, state, alive, uniform, stop_ids, *met, sampler):
    chosen = ops.cast(sampler(model.logits(state.last[:, None])[:, 0], uniform, *met), "int32")
    ids = ops.where(alive, chosen, PAD_ID)
    met = tuple([ops.logical_or(each, ids[:, None] == ops.arange(each.shape[1], dtype="int32")) for each in met])
    # An id outside the vocabulary is reported later, from NumPy; it must not index the embedding on a device.
    after = _consume(model, state, ops.clip(ids, 0, model.config.vocabulary_size - 1)[:, None])
    if stop_ids.shape[0]:
        # A row that has stopped has read its stop id, and no longer changes.
        after = keras.tree.map_structure(lambda new, old: _in_rows(alive, new, old), after, state)
        alive = ops.logical_and(alive, ops.logical_not(ops.any(ids[:, None] == stop_ids, axis=1)))
    return ids, after, alive, *met


def _in_rows(chosen, new, old):
    return ops.where(ops.reshape(chosen, (-1, *[1] * (len(new.shape) - 1))), new, old)
