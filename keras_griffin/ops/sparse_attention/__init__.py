"""Attention to the newest keys and to every l-th, or to the own block and the ends of others: the contract."""

from keras import ops

from keras_griffin.checks import COUNT, Rule, checked, one_of
from keras_griffin.ops.implementation import Implementation
from keras_griffin.ops.shared.attention_marks import lost_in_window
from keras_griffin.ops.shared.attention_op import AttentionOp
from keras_griffin.ops.shared.compaction import real_steps_last, take_steps
from keras_griffin.ops.sparse_attention.places import Places, places_of
from keras_griffin.shapes import Tensor

PATTERNS = ("strided", "fixed")


def _lost_keys(lost, keys, segment_ids, mask, *, stride, pattern, summary_steps):
    """The `lost_keys` of `keep_gradients_apart`: the lost queries that see anything, and their keys."""
    if mask is None:
        places = places_of(keys, stride, segment_ids, None)
    else:
        sources, back = real_steps_last(mask)
        ids = None if segment_ids is None else take_steps(segment_ids, sources)
        in_order = places_of(keys, stride, ids, take_steps(mask, sources))
        places = Places(*(take_steps(x, back) for x in in_order))
    rows = ops.ones((ops.shape(lost)[0], 1), "int32")
    if pattern == "strided":
        lost_query, near = lost_in_window(lost, keys, segment_ids, mask, window=stride)
        _, far = lost_in_window(lost, keys, rows * places.column, mask)
    else:
        lost_query, near = lost_in_window(lost, keys, rows * places.block, mask)
        _, far = lost_in_window(lost, keys, segment_ids, mask)
        far = ops.logical_and(far, places.is_summary(stride, summary_steps))
    return lost_query, ops.logical_or(near, far)


ATTENTION = AttentionOp(
    "sparse_attention",
    __name__,
    [
        Implementation("torch_exported", backend="torch", exported=True),
        Implementation("portable"),
        Implementation("reference", automatic=(), needs_values=True),
    ],
    lost_keys=_lost_keys,
    node="SparseAttention",
)


def sparse_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    stride: int,
    *,
    pattern: str = "strided",
    summary_steps: int = 8,
    segment_ids: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Attend from each query to a sparse pattern of the keys so far.

        y_i = sum_j p_ij v_j        p_i = softmax_j(q_i . k_j / sqrt(H))        over j <= i with
        i - j < l  or  (i - j) mod l = 0                                        "strided"
        floor(i / l) = floor(j / l)  or  j mod l >= l - c                       "fixed"

    i and j number the unmasked steps of one segment, from 0 at the first in `key`. Keys may be longer than queries,
    history first: the own key of query t is S - T + t. Each group of N / K query heads shares one key and value head.
    Time and memory are O(T (l + S / l)) or O(T (l + c S / l)).

    Args:
        query: `(B, T, N, H)` float; any size but N may be 0.
        key: `(B, S, K, H)`, S at least T, K dividing N.
        value: `(B, S, K, H)`.
        stride: l, the period of the pattern; about sqrt(T) makes both parts equal.
        pattern: `"strided"`, for data with a period, or `"fixed"`, for text.
        summary_steps: c, the last steps of each block that all later queries see, from 1 to l; unused by `"strided"`.
        segment_ids: `(B, S)` integers; a query sees only keys that have the id of its own key. The unmasked steps of a
            segment must be contiguous. None for one segment.
        mask: `(B, S)` bool; a False step is skipped and not counted: no query sees its key, and its own query outputs
            zero. None for all True.

    Returns:
        `(B, T, N, H)`, dtype of `query`. What is not finite affects exactly the queries that see it, and a cotangent
        that is not finite exactly what its query sees, as `local_attention` describes it.

    Precision: softmax in float32 (float64 for a float64 `query`); matrix products in the dtype of `query`.

    Raises:
        ValueError: `stride` or `summary_steps` is not such an integer, `pattern` is another word, the shapes do not
            fit, K does not divide N, a dtype is not floating, `mask` is not boolean, `segment_ids` are not integers, or
            time is divided over devices, for which there is no rule.

    Reference: Child et al. 2019 (arXiv 1904.10509), section 4.2, both parts of a pattern in every head.
    """
    names = ("stride", "pattern", "summary_steps")
    options = dict(zip(names, checked_pattern("sparse_attention", stride, pattern, summary_steps), strict=True))
    return ATTENTION(query, key, value, segment_ids, mask, **options)


def checked_pattern(owner: str, stride: int, pattern: str, summary_steps: int) -> tuple[int, str, int]:
    """The arguments of a pattern, checked."""
    stride = checked(owner, COUNT, stride=stride)
    pattern = checked(owner, one_of(PATTERNS), pattern=pattern)
    up_to_stride = Rule(
        f"an integer from 1 to the stride {stride}", lambda value: COUNT.holds(value) and value <= stride
    )
    rule = up_to_stride if pattern == "fixed" else COUNT
    return stride, pattern, checked(owner, rule, summary_steps=summary_steps)
