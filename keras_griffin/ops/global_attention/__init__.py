"""Attention to all keys so far, in memory that grows with T and not with its square: the contract, and the table."""

from keras_griffin.ops.implementation import Implementation
from keras_griffin.ops.shared.attention_marks import lost_in_window
from keras_griffin.ops.shared.attention_op import AttentionOp
from keras_griffin.shapes import Tensor

ATTENTION = AttentionOp(
    "global_attention",
    __name__,
    [
        Implementation("jax_splash_tpu", backend="jax", automatic=("tpu",), interpreted=True),
        Implementation("torch_flex", backend="torch", automatic=("gpu",), interpreted=True),
        Implementation("torch_sdpa", backend="torch", automatic=("cpu", "gpu")),
        Implementation("portable"),
        Implementation("reference", automatic=(), needs_values=True),
    ],
    lost_keys=lost_in_window,
    node="GlobalAttention",
)


def global_attention(
    query: Tensor, key: Tensor, value: Tensor, *, segment_ids: Tensor | None = None, mask: Tensor | None = None
) -> Tensor:
    """Attend from each query to all keys so far.

        y_t = sum_s p_ts v_s        p_t = softmax_s(q_t . k_s / sqrt(H))        s = 1 .. c

    where c = S - T + t is the query's own key: keys may be longer than queries, history first. Each group of N / K
    query heads shares one key and value head. Time is O(T S). Forward and backward, the weights of a block of 512
    queries at most are in memory at a time, as far as T and S are known when the call is traced.

    Args:
        query: `(B, T, N, H)` float; any size but N may be 0.
        key: `(B, S, K, H)`, S at least T, K dividing N.
        value: `(B, S, K, H)`.
        segment_ids: `(B, S)` integers; a query sees only the keys that have the id of its own key. None for one
            segment.
        mask: `(B, S)` bool; a False step is skipped: no query sees its key, and its own query outputs zero. None for
            all True.

    Returns:
        `(B, T, N, H)`, dtype of `query`. What is not finite affects exactly the queries that see it, and a cotangent
        that is not finite exactly what its query sees, as `local_attention` describes it. Differentiable once, on
        PyTorch with marks any number of times.

    Precision: softmax in float32 (float64 for a float64 `query`); matrix products in the dtype of `query`.

    Raises:
        ValueError: the shapes do not fit, K does not divide N, a dtype is not floating, `mask` is not boolean,
            `segment_ids` are not integers, or time is divided over devices, for which there is no rule.

    Reference: Vaswani et al. 2017 (arXiv 1706.03762), section 3.2; in little memory, Rabe and Staats 2021
    (arXiv 2112.05682) and Dao et al. 2022 (arXiv 2205.14135).
    """
    return ATTENTION(query, key, value, segment_ids, mask)
