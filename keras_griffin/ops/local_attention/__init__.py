"""Attention to a window of the newest keys: the contract, and the table of implementations.

A decoding step is a separate op, `step_attention`, without kernels: a row's single query meets W keys in one product.
"""

from keras_griffin.checks import is_integer
from keras_griffin.ops.implementation import Implementation
from keras_griffin.ops.shared.attention_marks import lost_in_window
from keras_griffin.ops.shared.attention_op import AttentionOp
from keras_griffin.shapes import Tensor

ATTENTION = AttentionOp(
    "local_attention",
    __name__,
    [
        Implementation("jax_splash_tpu", backend="jax", automatic=("tpu",), interpreted=True),
        Implementation("torch_flex", backend="torch", automatic=("gpu",), interpreted=True),
        Implementation("portable"),
        Implementation("reference", automatic=(), needs_values=True),
    ],
    lost_keys=lost_in_window,
    node="LocalAttention",
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
    if not is_integer(window) or window < 1:
        raise ValueError(f"local_attention: window must be an integer of at least 1. Got {window!r}.")
    return ATTENTION(query, key, value, segment_ids, mask, window=int(window))
