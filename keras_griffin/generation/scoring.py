"""The likelihood of a text under a model."""

import math

import keras
import numpy as np
from keras import ops

from keras_griffin import backends
from keras_griffin.generation.capacity import at_the_same_capacity, grows, with_capacity
from keras_griffin.generation.compilers.compile import compiles, prepared
from keras_griffin.generation.prompt import CHUNK, PAD_ID, Prompt, is_text, read_prompt
from keras_griffin.shapes import Tensor

#: The maximum number of logits in memory at once, 256 MB.
MOST_LOGITS = 1 << 26


def score(model: keras.Model, token_ids: Prompt, segment_ids: Tensor | None = None) -> np.ndarray | list[np.ndarray]:
    """The log-probability of each token, given those before it in its document.

        log p(x_t | x_1 .. x_(t-1)),  0 for the first token

    Tokens are read in chunks: apart from the result, memory does not grow with their number.

    Args:
        model: a `LanguageModel`.
        token_ids: `(B, T)` integer ids, a list of B rows of any lengths, a text, or a list of B texts, which get the
            tokenizer's start token.
        segment_ids: `(B, T)` integers if `token_ids` is an array: 0 is padding, equal positive ids are one document.
            None for one document per row.

    Returns:
        Natural logarithms, float32: `(B, T)` for an array; for a list a list of vectors; for a text one vector. 0 at
        the first token of a document, which is not predicted, and at padding.

    Raises:
        ValueError: the ids are invalid, or do not match the segment ids.
    """
    backends.check_not_forked("score")
    rows = read_prompt("score", token_ids, model.config.vocabulary_size, model.tokenizer)
    is_array = not isinstance(token_ids, str | list | tuple)
    if segment_ids is not None:
        segment_ids = np.asarray(ops.convert_to_numpy(segment_ids))
        fits = is_array and segment_ids.shape == np.shape(rows) and segment_ids.dtype.kind in "iu"
        if not fits or segment_ids.min(initial=0) < 0:
            raise ValueError(
                "score: segment_ids must be integers of at least 0, one for each token of an array. "
                f"Got {segment_ids.dtype} {segment_ids.shape}."
            )
    lengths = np.array([[row.size] for row in rows])
    padded = np.full((len(rows), lengths.max()), PAD_ID, "int32")
    for row, place in zip(rows, padded, strict=True):
        place[: row.size] = row
    marks = np.arange(lengths.max()) < lengths if segment_ids is None else segment_ids
    result = _score(model, padded, marks.astype("int32"))
    if is_array:
        return result
    vectors = [line[: row.size] for line, row in zip(result, rows, strict=True)]
    return vectors[0] if isinstance(token_ids, str) else vectors


def perplexity(model: keras.Model, token_ids: Prompt, segment_ids: Tensor | None = None) -> float:
    """The perplexity of some texts, exp(-mean log p(x_t | ...)) over every token but the first of each document.

    The arguments are those of `score`.

    Raises:
        ValueError: as for `score`; or no document has two tokens.
    """
    logarithms = score(model, token_ids, segment_ids)
    rows = [logarithms] if isinstance(token_ids, str) else logarithms
    if segment_ids is None:
        count = sum(max(len(row) - 1, 0) for row in rows)
    else:
        # The first token of each document is not predicted.
        segments = [row[row > 0] for row in ops.convert_to_numpy(segment_ids)]
        count = sum(row.size - np.count_nonzero(np.diff(row, prepend=-1)) for row in segments)
    if not count:
        raise ValueError("perplexity: at least one document must have two tokens. Got none.")
    return math.exp(-sum(float(np.sum(row, dtype="float64")) for row in rows) / count)


def bits_per_byte(model: keras.Model, texts: str | list[str]) -> float:
    """The bits per byte of some texts under a model, -log2 p(text | start token) / bytes of UTF-8.

    The measure compares models of different vocabularies. A uniform model of bytes needs 8. A tokenizer that
    `train_bpe` has trained has no start token: the first token of each text is then not predicted, and neither its bits
    nor its bytes count.

    Args:
        model: a `LanguageModel` with a tokenizer.
        texts: a text, or a list of texts, each a document.

    Raises:
        ValueError: there is no text or no tokenizer; or no token is predicted.

    Examples:
        >>> from keras_griffin.generation import bits_per_byte
        >>> from keras_griffin.models import Griffin, GriffinConfig
        >>> from keras_griffin.tokenizers import ByteTokenizer
        >>> model = Griffin(GriffinConfig(vocabulary_size=256, width=32, num_layers=3, num_heads=2, window=8))
        >>> model.tokenizer = ByteTokenizer()
        >>> 7 < bits_per_byte(model, "All happy families are alike.") < 12
        True
    """
    tokenizer = model.tokenizer
    texts = [texts] if isinstance(texts, str) else texts
    if not is_text(texts) or not any(texts):
        raise ValueError(f"bits_per_byte: texts must be a text or a list of texts, not all empty. Got {texts!r}.")
    if tokenizer is None:
        raise ValueError("bits_per_byte: the model must have a tokenizer. Got None.")
    rows = [tokenizer.encode(text, start=False) for text in texts]
    num_bytes = sum(len(text.encode("utf-8", "surrogateescape")) for text in texts)
    if tokenizer.start_id is not None:
        rows = [[tokenizer.start_id, *row] for row in rows]
    elif any(len(row) > 1 for row in rows):
        num_bytes -= sum(len(tokenizer.token_bytes(row[0], True)) for row in rows if row)
    else:
        raise ValueError(
            "bits_per_byte: without a start token, a text must have two tokens, of which the second is predicted. "
            f"Got texts of {', '.join(str(len(row)) for row in rows)} tokens."
        )
    nats = -sum(float(np.sum(row, dtype="float64")) for row in score(model, rows))
    return nats / math.log(2) / num_bytes


def _score(model, token_ids, segment_ids):
    """`score` for `(B, T)` ids, with segment id 0 at padding."""
    # With the padding moved to the end, each token is next to its predecessor.
    order = np.argsort(segment_ids == 0, axis=1, kind="stable")
    token_ids, segment_ids = (np.take_along_axis(x, order, axis=1) for x in (token_ids, segment_ids))
    num_rows, length = token_ids.shape
    predicted = np.zeros(token_ids.shape, bool)
    predicted[:, 1:] = (segment_ids[:, 1:] == segment_ids[:, :-1]) & (segment_ids[:, 1:] > 0)

    # A power of two.
    chunk = min(CHUNK, 1 << max(MOST_LOGITS // (num_rows * model.config.vocabulary_size), 1).bit_length() - 1)
    if compiles() and length < chunk:
        chunk = 1 << max(length - 1, 0).bit_length()
    padding = -length % chunk if compiles() else 0
    token_ids, segment_ids = (np.pad(x, [(0, 0), (0, padding)]) for x in (token_ids, segment_ids))
    # Copies, because donated buffers must be distinct.
    state = keras.tree.map_structure(ops.copy, model.initial_state(num_rows))
    if grows(state):
        state = with_capacity(state, token_ids.shape[1])
    score_chunk, pieces = prepared(_score_chunk, model), []
    for start in range(0, token_ids.shape[1], chunk):
        piece = slice(start, start + chunk)
        logarithms, state = score_chunk(state, token_ids[:, piece], segment_ids[:, piece])
        pieces.append(ops.convert_to_numpy(logarithms))
    moved = np.concatenate([np.zeros((num_rows, 0), "float32"), *pieces], axis=1)[:, :length]
    result = np.zeros((num_rows, length), "float32")
    np.put_along_axis(result, order, np.where(predicted, moved, 0), axis=1)
    return result


def _score_chunk(model, state, token_ids, segment_ids):
    """The log-probability of each token of a chunk, and the state after it."""
    x, after = model.advance_without_logits(token_ids, state, segment_ids=segment_ids)
    before = ops.concatenate([ops.cast(state.last, x.dtype)[:, None], x[:, :-1]], axis=1)
    logits = model.logits(before)
    chosen = ops.take_along_axis(logits, ops.convert_to_tensor(token_ids)[..., None], axis=-1)[..., 0]
    return chosen - ops.logsumexp(logits, axis=-1), at_the_same_capacity(after, state)
