"""The contract of attention, once: what is checked, chosen, and kept apart, whatever the keys that a query sees."""

import functools
from collections.abc import Callable

import keras
from keras import ops

from keras_griffin.ops.implementation import Implementation, Op
from keras_griffin.ops.shared.arguments import (
    as_tensor,
    check_floating,
    check_steps,
    dtype_of,
    is_symbolic,
    shape_fits,
)
from keras_griffin.ops.shared.attention_marks import keep_gradients_apart
from keras_griffin.ops.shared.time_axis import divided_rule
from keras_griffin.shapes import Tensor


class AttentionOp(Op):
    """An op `(query (B, T, N, H), key (B, S, K, H), value) -> (B, T, N, H)` with segments and a mask of the keys.

    An implementation is a module of the op's package with `supports(facts)` and a function of the op's name,

        name(query, key, value, *, segment_ids, mask, **options) -> outputs

    all in the dtype of `query`. No query's size is 0, unless it is known only when the model runs.

    Args:
        name: the op's name.
        package: the package that holds the implementations' modules.
        implementations: the rows of the table.
        lost_keys: `lost_keys(lost, S, segment_ids, mask, **options)`, for `keep_gradients_apart`.
        node: the name of the op's node in a functional model, under which it is saved.
    """

    def __init__(
        self, name: str, package: str, implementations: list[Implementation], *, lost_keys: Callable, node: str
    ):
        super().__init__(name, package, implementations)
        self.lost_keys = lost_keys
        self.node = _node(self, node)

    def __call__(self, *tensors: Tensor | None, **options) -> Tensor:
        """The outputs for query, key, value, segments and mask: computed, by the rule for divided time, or symbolic."""
        tensors = tuple(map(as_tensor, tensors))
        self._check(*tensors)
        if is_symbolic(*tensors):
            return self.node(**options)(*tensors)
        return (divided_rule(self.name) or self.run)(*tensors, **options)

    def run(self, query, key, value, segment_ids, mask, **options):
        """The outputs for concrete tensors, which have been checked."""
        if 0 in query.shape:
            return query
        dtype = dtype_of(query)
        implementation = self.choose(tuple(query.shape), dtype, (query, key, value))
        key, value = ops.cast(key, dtype), ops.cast(value, dtype)
        outputs = implementation(query, key, value, segment_ids=segment_ids, mask=mask, **options)
        outputs = ops.convert_to_tensor(outputs, dtype)
        lost_keys = functools.partial(self.lost_keys, **options)
        return keep_gradients_apart(outputs, query, key, value, lost_keys, (segment_ids, mask))

    def _check(self, query, key, value, segment_ids, mask):
        shapes = f"Got query {tuple(query.shape)}, key {tuple(key.shape)} and value {tuple(value.shape)}."
        if len(query.shape) != 4 or len(key.shape) != 4:
            raise ValueError(f"{self.name}: query must have shape (B, T, N, H) and key (B, S, K, H). {shapes}")
        batch_size, length, num_heads, channels = query.shape
        span, num_key_heads = key.shape[1:3]
        if not shape_fits(key, (batch_size, span, num_key_heads, channels)) or not shape_fits(value, tuple(key.shape)):
            raise ValueError(
                f"{self.name}: query, key and value must agree on B and H, and key and value on S and K. {shapes}"
            )
        if None not in (length, span) and span < length:
            raise ValueError(f"{self.name}: there must be a key for each query, S at least T. {shapes}")
        if num_key_heads == 0 or num_heads % num_key_heads:
            raise ValueError(f"{self.name}: the key heads K must divide the query heads N. {shapes}")
        check_floating(self.name, query=query, key=key, value=value)
        steps_shape = (batch_size, span)
        check_steps(self.name, steps_shape, mask=mask)
        if segment_ids is not None:
            dtype = dtype_of(segment_ids)
            if "int" not in dtype or not shape_fits(segment_ids, steps_shape):
                raise ValueError(
                    f"{self.name}: segment_ids must be integers, one for each key, shape {steps_shape}. "
                    f"Got dtype {dtype} and shape {tuple(segment_ids.shape)}."
                )


def _node(attention: AttentionOp, class_name: str) -> type[keras.Operation]:
    """The class of the op's nodes; its options are in the node's config."""

    class Node(keras.Operation):
        def __init__(self, *, name=None, **options):
            super().__init__(name)
            self.options = options

        def call(self, *tensors):
            return attention.run(*tensors, **self.options)

        def compute_output_spec(self, query, *others):
            return keras.KerasTensor(query.shape, query.dtype)

    Node.__name__ = Node.__qualname__ = class_name
    return keras.saving.register_keras_serializable("keras_griffin", class_name)(Node)
