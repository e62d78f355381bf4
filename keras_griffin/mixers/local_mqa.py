"""Local (sliding-window) multi-query attention."""

import numbers
from typing import NamedTuple

import keras
from keras import ops

from keras_griffin.layers.multi_query_attention import MultiQueryAttention, document_numbers
from keras_griffin.ops import local_attention
from keras_griffin.ops.compaction import real_steps_last, take_steps
from keras_griffin.shapes import Tensor


class LocalMQAState(NamedTuple):
    """The state of `LocalMQA`: a window of keys, newest last, that never grows."""

    #: `(B, W, K, H)`, compute dtype, before rotation; zeros where there is no key.
    keys: Tensor
    #: `(B, W, K, H)`, compute dtype.
    values: Tensor
    #: `(B,)` int32: how many of them, counted from the end, a later query may see.
    count: Tensor


@keras.saving.register_keras_serializable("keras_griffin")
class LocalMQA(MultiQueryAttention):
    """Mix along time by attention to a window of the newest steps.

        y_t = W_out softmax_s(rotate(q_t) . rotate(k_s) / sqrt(H)) v_s        s = t - W + 1 .. t

    Keys are kept before rotation and rotated by their place in the window when a query looks at them: only distances
    matter, so positions never grow and a stream may run for ever. Time and memory are O(T W).

    Args:
        num_heads: N, the query heads.
        window: W, the number of keys that a query sees, its own included.
        head_dim: H, the channels of a head; None for D / N.
        num_key_value_heads: K, dividing N.
        rotary_fraction: the part of each head's channels that is rotated.
        rotary_base: the base of the rotation's wavelengths.
        output_variance_scale: variance of the last kernel, in units of 1 / fan-in.
        **kwargs: `name`, `dtype` and `trainable`, as for every Keras layer.

    Call arguments:
        inputs: `(B, T, D)`.
        reset: `(B, T)` bool, optional; at a True step everything before it is forgotten.
        mask: `(B, T)` bool, optional; a False step is not seen, and takes no place in the window.

    State: `LocalMQAState`.

    Input shape: `(B, T, D)`.

    Output shape: `(B, T, D)`.

    Raises:
        ValueError: the window is no integer of at least 1, or the heads do not fit the width.

    Examples:
        >>> import numpy as np, keras_griffin
        >>> mixer = keras_griffin.mixers.LocalMQA(num_heads=2, window=4)
        >>> tuple(mixer(np.ones((2, 10, 8), "float32")).shape)
        (2, 10, 8)

    Reference: De et al. 2024 (arXiv 2402.19427), section 2.3; Beltagy et al. 2020 (arXiv 2004.05150).
    """

    def __init__(
        self,
        num_heads: int,
        window: int,
        head_dim: int | None = None,
        num_key_value_heads: int = 1,
        rotary_fraction: float = 0.5,
        rotary_base: float = 10000.0,
        output_variance_scale: float = 1.0,
        **kwargs,
    ):
        super().__init__(
            num_heads, head_dim, num_key_value_heads, rotary_fraction, rotary_base, output_variance_scale, **kwargs
        )
        if not isinstance(window, numbers.Integral) or window < 1:
            raise ValueError(f"LocalMQA: window must be an integer of at least 1. Got {window!r}.")
        self.window = window

    @classmethod
    def arguments_for_model(cls, config):
        """Those of every attention, and the window."""
        return {**super().arguments_for_model(config), "window": config.window}

    def initial_state(self, batch_size):
        """An empty window."""
        empty = self.empty_keys(batch_size, self.window)
        return LocalMQAState(empty, empty, ops.zeros((batch_size,), "int32"))

    def call(self, inputs, reset=None, mask=None):
        """The whole sequence, without the empty window that `advance` would look at."""
        inputs, reset, mask = self.prepare(inputs, reset, mask)
        query, key, value = self.project(inputs)
        documents = None if reset is None else document_numbers(reset, mask)
        positions = _positions(ops.shape(inputs)[1], mask)
        query, key = self.rotate(query, positions), self.rotate(key, positions)
        return self.join(local_attention(query, key, value, self.window, segment_ids=documents, mask=mask))

    def advance(self, inputs, state, *, reset=None, mask=None):
        """Continue from `state`; see `SequenceLayer.advance`."""
        inputs, reset, mask = self.prepare(inputs, reset, mask)
        query, key, value = self.project(inputs)
        length = ops.shape(query)[1]
        keys = ops.concatenate([state.keys, key], axis=1)
        values = ops.concatenate([state.values, value], axis=1)
        seen = self._newest(state.count)
        new = ops.zeros(ops.shape(query)[:2], "bool") if reset is None else reset
        # The window belongs to document 0, which goes on in the chunk until its first reset.
        documents = ops.concatenate([ops.where(seen, 0, -1), document_numbers(new, mask)], axis=1)
        real = None if mask is None else ops.concatenate([seen, mask], axis=1)
        positions = _positions(self.window + length, real)
        outputs = local_attention(
            self.rotate(query, positions[..., self.window :]),
            self.rotate(keys, positions),
            values,
            self.window,
            segment_ids=documents,
            mask=real,
        )
        return self.join(outputs), self._window(keys, values, documents, real)

    def _window(self, keys, values, documents, real) -> LocalMQAState:
        """The newest keys and values, those of earlier documents cleared."""
        visible = documents == documents[:, -1:]
        if real is not None:
            visible = ops.logical_and(visible, real)
            sources = real_steps_last(real)[0][:, -self.window :]
            keys, values = take_steps(keys, sources), take_steps(values, sources)
        count = ops.minimum(ops.sum(ops.cast(visible, "int32"), axis=1), self.window)
        kept = self._newest(count)[:, :, None, None]
        keys, values = (ops.where(kept, x[:, -self.window :], ops.zeros((), x.dtype)) for x in (keys, values))
        return LocalMQAState(keys, values, count)

    def _newest(self, count):
        """Which places `(B, W)` of a window hold its newest `count` `(B,)` keys."""
        return ops.arange(self.window, dtype="int32") >= self.window - ops.expand_dims(count, 1)

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "window": self.window}


def _positions(length, real):
    """Positions `(T,)`, or `(B, T)` where only real steps count."""
    if real is None:
        return ops.arange(length, dtype="int32")
    return ops.cumsum(ops.cast(real, "int32"), axis=1) - 1
