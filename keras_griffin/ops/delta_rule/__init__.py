"""S_t = g_t S_{t-1} + k_t b_t (v_t - g_t S_{t-1}^T k_t)^T, o_t = S_t^T q_t: the contract, and the table."""

from keras import ops

from keras_griffin.ops.implementation import Implementation
from keras_griffin.ops.recurrence.marks import forgetting
from keras_griffin.ops.recurrence.scan_op import ScanOp
from keras_griffin.shapes import Tensor


def _one_step(query, key, value, log_decay, rates, initial_state, marks):
    """The equations, which read the memory once: what it says of key and query, before it changes."""
    groups, num_heads = key.shape[2], value.shape[2]
    channels, width = initial_state.shape[2:]

    def step(x):
        """`(B, 1, N, ...)` as `(B, G, N / G, ...)`, zeros where masked."""
        x = ops.cast(x[:, 0], initial_state.dtype)
        if marks.mask is not None:
            x = ops.where(ops.reshape(marks.mask, (-1, *[1] * (len(x.shape) - 1))), x, 0.0)
        return ops.reshape(x, (-1, groups, x.shape[1] // groups, *x.shape[2:]))

    q, k, v, b = map(step, (query, key, value, rates[..., None]))
    forgets = forgetting(marks)
    past = initial_state if forgets is None else ops.where(forgets[..., None], 0.0, initial_state)
    past = ops.reshape(past, (-1, groups, num_heads // groups, channels, width))
    if log_decay is not None:
        past = past * ops.exp(step(log_decay[..., None, None]))
    read = ops.stack([k, q], axis=-2) @ past
    change = b * (v - read[..., 0, :])
    state = past + k[..., None] * change[..., None, :]
    outputs = read[..., 1, :] + ops.sum(q * k, axis=-1, keepdims=True) * change
    outputs, state = (ops.reshape(x, (-1, num_heads, *x.shape[3:])) for x in (outputs, state))
    outputs = outputs[:, None]
    return outputs if marks.mask is None else ops.where(marks.mask[..., None], outputs, 0.0), state


SCAN = ScanOp(
    "delta_rule",
    __name__,
    "query btgh, key btgh, value btnp, log_decay? btn, rates btn | bnhp -> value",
    [
        Implementation("portable"),
        Implementation("torch_exported", backend="torch", exported=True),
        Implementation("reference", automatic=(), needs_values=True),
    ],
    one_step=_one_step,
    node="DeltaRule",
)


def delta_rule(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    log_decay: Tensor | None,
    rates: Tensor,
    initial_state: Tensor | None = None,
    *,
    reset: Tensor | None = None,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Run the gated delta rule along time: a memory that replaces what it holds under a key.

        P_t = exp(l_t) S_{t-1}                         what is kept of the memory, an H x P matrix for each head
        S_t = P_t + b_t k_t (v_t - P_t^T k_t)^T        t = 1 .. T
        o_t = S_t^T q_t

    It is a step of gradient descent on |S^T k_t - v_t|^2 / 2, of the size b_t: with b_t = 1 and |k_t| = 1 the memory
    holds v_t under k_t afterwards, whatever it held there.

    Args:
        query: q, `(B, T, G, H)` float; T may be 0, and so may B.
        key: k, `(B, T, G, H)` float, with |k_t|^2 b_t at most 2 (not checked). Otherwise the memory grows, and where it
            overflows, other documents of the row may be lost too.
        value: v, `(B, T, N, P)` float; G divides N, and each head of keys serves N / G consecutive heads of values.
        log_decay: l, `(B, T, N)` float, at most 0 (not checked); -1e4 or less is a decay of 0. None for no decay, the
            plain delta rule.
        rates: b, `(B, T, N)` float.
        initial_state: S_0, `(B, N, H, P)` float; None for zeros.
        reset: `(B, T)` bool; the memory is set to zero before a True step: values before the step affect no output from
            it on, and gradients from it on do not reach back, even where they are not finite. None for all False.
        mask: `(B, T)` bool; a False step leaves the memory unchanged and outputs zeros: all sequences and reset are
            ignored there. None for all True.

    Returns:
        (outputs, final_state): every o_t, `(B, T, N, P)` in the dtype of `value`, and S_T, `(B, N, H, P)` in the
        accumulation dtype. Differentiable in all floating tensors: once, and any number of times on PyTorch. A step at
        which a tensor is not finite, or has a norm of 1e14 or more, makes the later outputs of its document NaN.

    Precision: accumulates in float32 (float64 for float64 `value`) and rounds `outputs` once. No decay is a quotient of
    others, and no matrix is inverted whose inverse is larger than the keys: keys that are all equal cost no digits.

    Raises:
        ValueError: the shapes do not fit, a dtype is not floating, `reset` or `mask` is not boolean, the requested
            implementation can't serve the call, or time is divided over devices, for which there is no rule.

    Reference: Yang et al. 2024 (arXiv 2412.06464), section 3, and without decay Yang et al. 2024 (arXiv 2406.06484),
    section 3, for the products of chunks.

    Examples:
        >>> import keras
        >>> from keras_griffin.ops import delta_rule
        >>> keys, values = keras.ops.ones((1, 6, 1, 4)) / 2, keras.ops.ones((1, 6, 2, 3))
        >>> outputs, state = delta_rule(keys, keys, values, None, keras.ops.ones((1, 6, 2)))
        >>> tuple(outputs.shape), tuple(state.shape)
        ((1, 6, 2, 3), (1, 2, 4, 3))
    """
    _check_heads(key, value)
    tensors = query, key, value, log_decay, rates
    return SCAN(*tensors, initial_state=initial_state, reset=reset, mask=mask)


def _check_heads(key, value):
    """Raise unless the heads of keys divide those of values, where both are known."""
    if len(key.shape) == len(value.shape) == 4 and (key.shape[2] == 0 or value.shape[2] % key.shape[2]):
        raise ValueError(
            f"delta_rule: the heads of key must divide those of value. Got {key.shape[2]} and {value.shape[2]}."
        )
