"""What the engine asks of the model: a token for each row, each with its own sampling, and the scores of a prompt."""

import functools
from collections.abc import Callable

import numpy as np
from keras import ops

from keras_griffin.generation.compilers.compile import prepared
from keras_griffin.generation.loop import advanced
from keras_griffin.generation.samplers import Greedy, draw, nucleus, tempered
from keras_griffin.generation.state import LanguageModelState
from keras_griffin.serving.engine.job import Scored

#: How many of the likeliest tokens are found where any are wanted, so that there is one function for all numbers.
MOST_TOP = 20


def preparing(model) -> Callable:
    """`prepared` for this model, whose variables stay where they are: it looks for them once for each function."""
    return functools.cache(lambda function, **fixed: prepared(function, model, **fixed))


def step(prepare, state: LanguageModelState, temperature, top_p, uniform, is_scored: bool):
    """The next token of each row, what is known of it, and the state after it; the given state is donated.

    `temperature`, `top_p` and `uniform` are `(B,)` float32. A row of temperature 0 takes the likeliest token. What is
    known is the log-probability of the token, and the `MOST_TOP` likeliest ones with theirs, if `is_scored`.
    """
    is_cut = bool(np.any((top_p < 1) & (temperature > 0)))
    run = prepare(_step, is_step=True, is_cut=is_cut, is_scored=is_scored)
    ids, state, *scores = run(state, temperature, top_p, uniform)
    return ops.convert_to_numpy(ids), [ops.convert_to_numpy(x) for x in scores], state


def score(prepare, state: LanguageModelState, token_ids: np.ndarray, mask: np.ndarray | None):
    """The scores of each token `(B, T)` of a prompt, as those of `step`, and the state after it."""
    arguments = (token_ids,) if mask is None else (token_ids, mask)
    state, *scores = prepare(_score)(state, *arguments)
    return [ops.convert_to_numpy(x) for x in scores], state


def scored(token_id: int, scores, place: tuple[int, ...], count: int) -> Scored:
    """The scores of one token, with the `count` likeliest beside it."""
    logprob, ids, logprobs = (x[place] for x in scores)
    return Scored(token_id, float(logprob), tuple(zip(ids[:count].tolist(), logprobs[:count].tolist(), strict=True)))


def _step(model, state, temperature, top_p, uniform, *, is_cut, is_scored):
    logits = _logits(model, state.last[:, None])[:, 0]
    is_warm = temperature > 0
    kept = tempered(logits, ops.where(is_warm, temperature, 1.0)[:, None])
    if is_cut:
        kept = ops.where(top_p[:, None] < 1, nucleus(kept, top_p[:, None]), kept)
    ids = ops.where(is_warm, draw(kept, uniform), Greedy()(logits, uniform))
    scores = _scores(logits, ids) if is_scored else ()
    return ids, advanced(model, state, ids[:, None])[1], *scores


def _score(model, state, token_ids, mask=None):
    outputs, after = advanced(model, state, token_ids, mask)
    last = ops.cast(state.last, outputs.dtype)[:, None]
    earlier = outputs[:, :-1] if mask is None else ops.where(mask[:, :-1, None], outputs[:, :-1], last)
    before = ops.concatenate([last, earlier], axis=1)
    return after, *_scores(_logits(model, before), token_ids)


def _logits(model, outputs):
    """In float32; those of ids that are no tokens, where a vocabulary was padded, are minus infinity."""
    logits = ops.cast(model.logits(outputs), "float32")
    if model.tokenizer is None or model.tokenizer.vocabulary_size >= logits.shape[-1]:
        return logits
    return ops.where(ops.arange(logits.shape[-1]) < model.tokenizer.vocabulary_size, logits, -np.inf)


def _scores(logits, token_ids):
    """The log-probability of tokens `(...)`, and of the likeliest ones `(..., MOST_TOP)`."""
    logprobs = logits - ops.logsumexp(logits, axis=-1, keepdims=True)
    chosen = ops.take_along_axis(logprobs, ops.expand_dims(ops.cast(token_ids, "int32"), -1), axis=-1)[..., 0]
    values, ids = ops.top_k(logprobs, min(MOST_TOP, logits.shape[-1]))
    return chosen, ids, values
