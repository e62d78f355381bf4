"""S_t = exp(g_t) R(w_t) S_{t-1} + k_t v_t^T, o_t = S_t^T q_t: the contract, and the table of implementations.

An implementation gets query, key, value, log decay `(B, T, N, 1 or H)`, and angles or None; see `ScanOp`.
"""

from keras import ops

from keras_griffin.ops.gated_linear_attention.heads import for_heads, turned
from keras_griffin.ops.implementation import Implementation
from keras_griffin.ops.recurrence.marks import forgetting
from keras_griffin.ops.recurrence.scan_op import ScanOp
from keras_griffin.ops.shared.arguments import as_tensor
from keras_griffin.shapes import Tensor


def _one_step(query, key, value, log_decay, angles, initial_state, marks):
    """The equations."""
    reset, mask = (None if mark is None else mark[..., None] for mark in (forgetting(marks), marks.mask))

    def step(x):
        x = ops.cast(x, initial_state.dtype)
        x = x if mask is None else ops.where(mask, x, 0.0)
        return for_heads(x, value.shape[2])[:, 0]

    query_, key_, value_, log_decay_ = map(step, (query, key, value, log_decay))
    past = initial_state if reset is None else ops.where(reset, 0.0, initial_state)
    past = past if angles is None else turned(past, step(angles))
    state = ops.exp(log_decay_)[..., None] * past + key_[..., None] * value_[..., None, :]
    outputs = ops.sum(query_[..., None] * state, axis=2)[:, None]
    return outputs if mask is None else ops.where(mask, outputs, 0.0), state


SCAN = ScanOp(
    "gated_linear_attention",
    __name__,
    "query btgh, key btgh, value btnp, log_decay btnx, angles? btgr | bnhp -> value",
    [
        Implementation("portable"),
        Implementation("torch_exported", backend="torch", exported=True),
        Implementation("reference", automatic=(), needs_values=True),
    ],
    one_step=_one_step,
    node="GatedLinearAttention",
)


def gated_linear_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    log_decay: Tensor | None = None,
    initial_state: Tensor | None = None,
    *,
    angles: Tensor | None = None,
    reset: Tensor | None = None,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Run a linear recurrence along time whose state is a matrix for each head.

        S_t = diag(exp(g_t)) R(w_t) S_{t-1} + k_t v_t^T        t = 1 .. T
        o_t = S_t^T q_t

    R(w) turns each pair of rows (j, j + H/2) of the state by the angle w_j, so that a stream has no position: query i
    and key j meet as q_i^T R(w_{j+1} + .. + w_i) k_j. Rotary embeddings with wavenumbers v are angles of -v.

    Linear attention has no decay, retention one for each head, Mamba-2 and mLSTM one for each head and step, gated
    linear attention one for each channel of the keys and step. A value's last channel that is always one holds the sum
    of the keys. With H = P = 1 and complex numbers the recurrence is `linear_scan`.

    Args:
        query: q, `(B, T, G, H)` float; any size of a sequence may be 0. G heads of queries and keys, each for N / G
            heads of values.
        key: k, `(B, T, G, H)` float.
        value: v, `(B, T, N, P)` float.
        log_decay: g, `(N,)`, `(B, T, N)` or `(B, T, N, H)` float, the logarithm of the decay; -1e4 or less is a decay
            of 0. None for zeros. At most 0 (not checked): a state that growth makes infinite is not forgotten by a
            reset, which multiplies it by zero.
        initial_state: S_0, `(B, N, H, P)` float; None for zeros.
        angles: w, `(H / 2,)` or `(B, T, G, H / 2)` float, radians; not with a log_decay for each channel. None for
            zeros.
        reset: `(B, T)` bool; the state is set to zero before a True step: values before the step affect no output from
            it on, and gradients from it on do not reach back, even where they are not finite. None for all False.
        mask: `(B, T)` bool; a False step leaves the state unchanged and outputs zeros: all sequences and reset are
            ignored there. None for all True.

    Returns:
        (outputs, final_state): every o_t, `(B, T, N, P)` in the dtype of `value`, and S_T, `(B, N, H, P)` in the
        accumulation dtype. Differentiable in all floating tensors. A step whose query, key, value, or log_decay is not
        finite, or has a norm of 1e14 or more, makes the later outputs of its document NaN.

    Precision: accumulates in float32 (float64 for a float64 `value`) and rounds `outputs` once. Chunks of 64 steps are
    products of matrices. Decays between two steps are exponentials of sums of log decays, never of a difference of two
    cumulated sums, so that strong decays lose nothing.

    Raises:
        ValueError: the shapes do not fit, G does not divide N, H is odd where there are angles, a dtype is not
            floating, `reset` or `mask` is not boolean, or the requested implementation can't serve the call.

    Reference: Yang et al. 2024 (arXiv 2312.06635), section 4; Katharopoulos et al. 2020 (arXiv 2006.16236); Sun et al.
    2023 (arXiv 2307.08621), equations 1 to 7; Dao and Gu 2024 (arXiv 2405.21060), section 6.

    Examples:
        >>> import keras
        >>> from keras_griffin.ops import gated_linear_attention
        >>> heads = keras.ops.ones((1, 6, 2, 4))
        >>> outputs, state = gated_linear_attention(heads, heads, heads, -0.1 * heads)
        >>> tuple(outputs.shape), tuple(state.shape)
        ((1, 6, 2, 4), (1, 2, 4, 4))
    """
    query, key, value, log_decay, angles = map(as_tensor, (query, key, value, log_decay, angles))
    _check(query, value, log_decay, angles)
    if log_decay is None:
        log_decay = ops.zeros_like(value[..., :1])
    elif len(log_decay.shape) == 1:
        log_decay = log_decay[:, None] + ops.zeros_like(value[..., :1])
    elif len(log_decay.shape) == 3:
        log_decay = log_decay[..., None]
    if angles is not None and len(angles.shape) == 1:
        angles = angles + ops.zeros_like(query[..., : angles.shape[0]])
    return SCAN(query, key, value, log_decay, angles, initial_state=initial_state, reset=reset, mask=mask)


def _check(query, value, log_decay, angles):
    """What the axes of the scan can't tell."""
    if len(query.shape) != 4 or len(value.shape) != 4:
        raise ValueError(
            "gated_linear_attention: query and key must have shape (B, T, G, H) and value (B, T, N, P). "
            f"Got query {tuple(query.shape)} and value {tuple(value.shape)}."
        )
    (groups, channels), num_heads = query.shape[2:], value.shape[2]
    if groups == 0 or num_heads % groups:
        raise ValueError(
            "gated_linear_attention: the heads of query and key must divide those of value. "
            f"Got {groups} heads of query and {num_heads} of value."
        )
    of_decay = (num_heads,) if log_decay is None else tuple(log_decay.shape)
    # After the batch and time.
    of_step = of_decay if len(of_decay) == 1 else of_decay[2:]
    by_head = of_step in ((num_heads,), (num_heads, 1))
    if not (by_head or of_step == (num_heads, channels)):
        raise ValueError(
            f"gated_linear_attention: log_decay must have shape ({num_heads},), (B, T, {num_heads}) or "
            f"(B, T, {num_heads}, {channels}). Got {of_decay}."
        )
    if angles is not None and (channels % 2 or angles.shape[-1] != channels // 2 or not by_head):
        raise ValueError(
            "gated_linear_attention: angles must have one number for each pair of an even number of channels of query, "
            f"and no log_decay for each channel. Got angles {tuple(angles.shape)}, {channels} channels and log_decay "
            f"{of_decay}."
        )
