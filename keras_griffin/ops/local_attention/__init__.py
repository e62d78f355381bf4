"""Attention to a window of the newest keys: the contract, and the table of implementations.

A decoding step is a separate op, `step_attention`, without kernels: a row's single query meets W keys in one product.
"""

import functools

import keras
from keras import ops

from keras_griffin.checks import is_integer
from keras_griffin.ops.implementation import Implementation, Op
from keras_griffin.ops.local_attention.marks import keep_gradients_apart, lost_in_window
from keras_griffin.ops.shared.arguments import as_tensor, check_floating, check_steps, is_symbolic, shape_fits
from keras_griffin.ops.shared.time_axis import divided_rule
from keras_griffin.shapes import Tensor

_OP = Op(
    "local_attention",
    __name__,
    [
        Implementation("jax_splash_tpu", backend="jax", automatic=("tpu",), interpreted=True),
        Implementation("torch_flex", backend="torch", automatic=("gpu",), interpreted=True),
        Implementation("portable"),
        Implementation("reference", automatic=(), needs_values=True),
    ],
)


def local_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    window: int,
    *,
    segment_ids: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Attend from each query to its newest W keys.

        y_t = sum_s p_ts v_s        p_t = softmax_s(q_t . k_s / sqrt(H))        s = c - W + 1 .. c

    where c = S - T + t is the query's own key: keys may be longer than queries, history first. Each group of N / K
    query heads shares one key and value head.

    Args:
        query: `(B, T, N, H)` float; any size but N may be 0.
        key: `(B, S, K, H)`, S at least T, K dividing N.
        value: `(B, S, K, H)`.
        window: W, how many keys a query may see, including its own.
        segment_ids: `(B, S)` integers; a query sees only the keys of its window that have the id of its own key. None
            for one segment.
        mask: `(B, S)` bool; a False step is skipped: no query sees its key, which takes no place in any window, and its
            own query outputs zero. None for all True.

    Returns:
        `(B, T, N, H)`, dtype of `query`. Keys and values that a query does not see affect neither its output nor its
        gradient, even if they are not finite; a query that is not finite, or sees a step that is not, outputs NaN. A
        step whose heads together have a norm of 1e14 or more counts as not finite. Likewise backward: if a query's
        cotangent is not finite, the gradient is NaN for that query and for the keys and values that it sees, and for
        nothing else.

    Precision: softmax in float32 (float64 for a float64 `query`); matrix products in the dtype of `query`.

    Raises:
        ValueError: `window` is not an integer of at least 1, the shapes do not fit, K does not divide N, a dtype is
            not floating, `mask` is not boolean, or `segment_ids` are not integers.

    Reference: De et al. 2024 (arXiv 2402.19427), section 2.3; Beltagy et al. 2020 (arXiv 2004.05150).
    """
    query, key, value, segment_ids, mask = map(as_tensor, (query, key, value, segment_ids, mask))
    _check(query, key, value, window, segment_ids, mask)
    if is_symbolic(query, key, value, segment_ids, mask):
        return LocalAttention(int(window))(query, key, value, segment_ids, mask)
    return (divided_rule("local_attention") or _attend)(query, key, value, int(window), segment_ids, mask)


@keras.saving.register_keras_serializable("keras_griffin")
class LocalAttention(keras.Operation):
    """`local_attention` as a node of a functional model."""

    def __init__(self, window: int, *, name: str | None = None):
        super().__init__(name=name)
        self.window = window

    def call(self, query, key, value, segment_ids, mask):
        return _attend(query, key, value, self.window, segment_ids, mask)

    def compute_output_spec(self, query, key, value, segment_ids, mask):
        return keras.KerasTensor(query.shape, query.dtype)


def _attend(query, key, value, window, segment_ids, mask):
    if 0 in query.shape:
        return query
    dtype = keras.backend.standardize_dtype(query.dtype)
    implementation = _OP.choose(tuple(query.shape), dtype, (query, key, value))
    key, value = ops.cast(key, dtype), ops.cast(value, dtype)
    outputs = implementation(query, key, value, window, segment_ids=segment_ids, mask=mask)
    outputs = ops.convert_to_tensor(outputs, dtype)
    lost_keys = functools.partial(lost_in_window, window)
    return keep_gradients_apart(outputs, query, key, value, lost_keys, (segment_ids, mask))


def _check(query, key, value, window, segment_ids, mask):
    if not is_integer(window) or window < 1:
        raise ValueError(f"local_attention: window must be an integer of at least 1. Got {window!r}.")
    shapes = f"Got query {tuple(query.shape)}, key {tuple(key.shape)} and value {tuple(value.shape)}."
    if len(query.shape) != 4 or len(key.shape) != 4:
        raise ValueError(f"local_attention: query must have shape (B, T, N, H) and key (B, S, K, H). {shapes}")
    batch_size, length, num_heads, channels = query.shape
    span, num_key_heads = key.shape[1:3]
    if not shape_fits(key, (batch_size, span, num_key_heads, channels)) or not shape_fits(value, tuple(key.shape)):
        raise ValueError(
            f"local_attention: query, key and value must agree on B and H, and key and value on S and K. {shapes}"
        )
    if None not in (length, span) and span < length:
        raise ValueError(f"local_attention: there must be a key for each query, S at least T. {shapes}")
    if num_key_heads == 0 or num_heads % num_key_heads:
        raise ValueError(f"local_attention: the key heads K must divide the query heads N. {shapes}")
    check_floating("local_attention", query=query, key=key, value=value)
    steps_shape = (batch_size, span)
    check_steps("local_attention", steps_shape, mask=mask)
    if segment_ids is not None:
        dtype = keras.backend.standardize_dtype(segment_ids.dtype)
        if "int" not in dtype or not shape_fits(segment_ids, steps_shape):
            raise ValueError(
                f"local_attention: segment_ids must be integers, one for each key, shape {steps_shape}. "
                f"Got dtype {dtype} and shape {tuple(segment_ids.shape)}."
            )
