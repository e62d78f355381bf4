"""Layouts of tensors in other implementations, relative to the variables with the same values here.

Letters in addition to those of `keras_griffin.shapes`: P for the inputs of a projection, Q for its outputs.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Layout(NamedTuple):
    """Converts between one foreign tensor and one or more variables.

    All but negation, joining and scales are views.
    """

    #: The foreign shape, from the variables' shapes.
    shape: Callable[..., tuple[int, ...]]
    #: The foreign array, and the variables' shapes, to a tuple of the variables' arrays.
    split: Callable[..., tuple[np.ndarray, ...]]
    #: The variables' arrays to the foreign one.
    join: Callable[..., np.ndarray]
    #: Whether `join` may give a wider dtype than the variables have.
    may_widen: bool = False


def _exact_scale(ours: np.ndarray) -> np.ndarray:
    """The scale itself, in the narrowest dtype from the variable's upwards that holds every bit of it."""
    scale = ours.astype("float64") + 1.0
    dtypes = (ours.dtype, np.dtype("float32"), np.dtype("float64"))
    return next((a for a in map(scale.astype, dtypes) if np.array_equal(a, scale, equal_nan=True)), scale)


#: The same array.
SAME = Layout(lambda shape: shape, lambda theirs, *_: (theirs,), lambda ours: ours)
#: `(P, Q)` here, `(Q, P)` there.
TRANSPOSED = Layout(lambda shape: shape[::-1], lambda theirs, *_: (theirs.T,), lambda ours: ours.T)
#: Lambda here, a softplus's argument there: sigmoid(Lambda) = exp(-softplus(-Lambda)).
NEGATED = Layout(lambda shape: shape, lambda theirs, *_: (-theirs,), lambda ours: -ours)
#: Taps `(K, D)`, that of the current step last; there `(D, 1, K)`, of a depthwise convolution.
DEPTHWISE = Layout(
    lambda shape: (shape[1], 1, shape[0]), lambda theirs, *_: (theirs[:, 0, :].T,), lambda ours: ours.T[:, None, :]
)
#: The bias `(G, 1, D / G)` of blocks; there `(G, D / G)`.
BLOCKS_BIAS = Layout(
    lambda shape: (shape[0], shape[2]), lambda theirs, *_: (theirs[:, None, :],), lambda ours: ours[:, 0]
)
#: Two kernels `(P, Q)`; there one `(2, P, Q)`.
PAIR_OF_KERNELS = Layout(lambda first, _: (2, *first), lambda theirs, *_: tuple(theirs), lambda *ours: np.stack(ours))
#: Two biases `(Q,)`; there one `(2, 1, 1, Q)`.
PAIR_OF_BIASES = Layout(
    lambda first, _: (2, 1, 1, *first),
    lambda theirs, *_: tuple(theirs[:, 0, 0]),
    lambda *ours: np.stack(ours)[:, None, None],
)
#: Kernels `(P, Q)` side by side, with a Q for each; there transposed, one matrix `(sum of Q, P)`.
TRANSPOSED_TOGETHER = Layout(
    lambda *shapes: (sum(outputs for _, outputs in shapes), shapes[0][0]),
    lambda theirs, *shapes: tuple(
        part.T for part in np.split(theirs, np.cumsum([outputs for _, outputs in shapes[:-1]]))
    ),
    lambda *ours: np.concatenate([kernel.T for kernel in ours]),
)
#: A scale minus one here, the scale there. In float64, so that it is rounded once, to the variable's dtype.
SCALE = Layout(lambda shape: shape, lambda theirs, *_: (theirs.astype("float64") - 1.0,), _exact_scale, may_widen=True)
#: A vector `(D,)`; there `(1, 1, D)`.
ROW = Layout(lambda shape: (1, 1, *shape), lambda theirs, *_: (theirs[0, 0],), lambda ours: ours[None, None])
