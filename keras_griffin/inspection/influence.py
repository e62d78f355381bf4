"""The influence of earlier tokens on a model's prediction."""

import keras
import numpy as np
from keras import ops

from keras_griffin import backends
from keras_griffin.checks import Rule, checked, is_integer
from keras_griffin.generation.compilers.compile import prepared
from keras_griffin.generation.prompt import Prompt
from keras_griffin.models.trace import one_text


def influence(model: keras.Model, text: Prompt, token: int | None = None) -> np.ndarray:
    """How much each token of a text affects a logit of the next one.

        g_t = || d logit_token / d x_t ||,    x_t the embedding of token t

    A token that the recurrences have forgotten and no window reaches has no influence. It needs a backend with
    gradients. Memory grows with the text's length.

    Args:
        model: a `LanguageModel`.
        text: a text, or its ids, `(T,)` or `(1, T)`.
        token: the id whose logit to differentiate; None for the most likely one.

    Returns:
        `(T,)` float32.

    Raises:
        ValueError: the text is empty, or more than one; the token is outside the vocabulary; or the active backend has
            no gradients.
    """
    token_ids = one_text("influence", model, text)
    size = model.config.vocabulary_size
    id_rule = Rule(f"an id from 0 to {size - 1}", lambda value: is_integer(value) and 0 <= value < size)
    token = checked("influence", id_rule.or_none(), token=token)
    backend = keras.backend.backend()
    if not backends.has_gradients():
        raise ValueError(f"influence: the backend must be one of {', '.join(backends.WITH_GRADIENTS)}. Got {backend}.")

    embedded, logits = prepared(_read, model)((), token_ids[None])
    token = int(np.argmax(ops.convert_to_numpy(logits))) if token is None else token
    _, (gradient,) = backends.active().value_and_gradient(lambda x: _last_logits(model, x)[token], [embedded])
    gradient = np.asarray(ops.convert_to_numpy(ops.cast(gradient, "float32")))[0]
    return np.linalg.norm(gradient, axis=-1)


def _read(model, state, token_ids):
    """The embedded tokens, and the logits of the next one."""
    embedded = model.token_embedding(token_ids)
    return embedded, _last_logits(model, embedded)


def _last_logits(model, x):
    for block in model.blocks:
        x = block(x)
    return model.logits(x[:, -1:])[0, 0]
