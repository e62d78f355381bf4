"""The attention weights of each token."""

import keras
import numpy as np
from keras import ops

from keras_griffin.generation.compilers.compile import prepared
from keras_griffin.generation.prompt import Prompt
from keras_griffin.layers.attention.multi_query_attention import MultiQueryAttention
from keras_griffin.models.trace import one_text

#: The largest T, since a map has T^2 numbers for each head.
LONGEST = 4096


def attention_map(model: keras.Model, text: Prompt, block: int | None = None) -> np.ndarray:
    """The weights with which each token of a text attends to earlier ones and itself.

        p_ts = softmax_s(q_t . k_s / sqrt(H))        s within the window

    Args:
        model: a `LanguageModel`.
        text: a text, or its ids, `(T,)` or `(1, T)`, T at most 4,096.
        block: the index of a block whose mixer is attention; None for the first.

    Returns:
        `(N, T, T)` float32, by head, query and key; each row of a map sums to 1.

    Raises:
        ValueError: the text is empty, too long, or more than one; or that block has no attention.
    """
    token_ids = one_text("attention_map", model, text)
    if len(token_ids) > LONGEST:
        raise ValueError(f"attention_map: a text must have at most {LONGEST} tokens. Got {len(token_ids)}.")
    places = places_of_attention(model)
    place = next(iter(places), None) if block is None else block
    if place not in places:
        raise ValueError(f"attention_map: block must be one of {places}, whose mixers are attention. Got {block!r}.")
    return np.asarray(ops.convert_to_numpy(prepared(_attention, model, place=place)((), token_ids[None])))[0]


def places_of_attention(model: keras.Model) -> list[int]:
    """The indices of the blocks whose mixers are attention."""
    return [place for place, block in enumerate(model.blocks) if isinstance(block.mixer, MultiQueryAttention)]


def _attention(model, state, token_ids, place):
    x = model.token_embedding(token_ids)
    for earlier in model.blocks[:place]:
        x = earlier(x)
    chosen = model.blocks[place]
    return chosen.mixer.attention_of(chosen.mixer_norm(x))
