"""Attention whose state keeps all keys of a document: the base of global and sparse attention."""

from typing import Any, ClassVar

from keras import ops

from keras_griffin.layers.attention.multi_query_attention import MultiQueryAttention, document_numbers
from keras_griffin.ops.shared.compaction import at_latest, real_steps_last, take_steps
from keras_griffin.ops.step_attention import step_attention, write_place
from keras_griffin.shapes import State, Tensor


class UnboundedAttention(MultiQueryAttention):
    """Multi-query attention to the steps so far of a document, all or some.

    A state is a NamedTuple: keys and values `(B, steps, K, H)`, the keys rotated by their positions in the document,
    and a mark of each, `(B, steps)`, which is 0 in an empty place. Empty places are zeros. A subclass defines
    `attend`, `marks_of` and `seen_by`.

    In a state of `room_type` there is an empty place for each step to come: a step writes there and does not grow the
    state. Where a backend writes in place, as JAX does in a compiled loop, the other keys are not copied. A step takes
    the last of a row's empty places, so that the newest key is the first.
    """

    room_type: ClassVar[Any]

    def attend(
        self, query: Tensor, keys: Tensor, values: Tensor, documents: Tensor | None, mask: Tensor | None
    ) -> Tensor:
        """The outputs `(B, T, N, H)` of the newest T steps, among all that are in order."""
        raise NotImplementedError(f"attend: {type(self).__name__} must define it.")

    def marks_of(self, positions: Tensor, visible: Tensor) -> Tensor:
        """The state's marks of steps at these positions, where they are visible, `(B, steps)` bool."""
        raise NotImplementedError(f"marks_of: {type(self).__name__} must define it.")

    def seen_by(self, position: Tensor, marks: Tensor) -> Tensor:
        """Which keys, by their marks, a step at a position `(B, 1)` of their document sees: `(B, steps)` bool."""
        raise NotImplementedError(f"seen_by: {type(self).__name__} must define it.")

    def in_order(self, state: State) -> State:
        """The state with the oldest key first, if `attend` needs that."""
        return state

    def call(self, inputs, reset=None, mask=None, inputs_mask=None):
        """The whole sequence, as in `SequenceLayer.call`, without the empty state that `advance` would continue."""
        inputs, reset, mask = self.prepare(inputs, reset, inputs_mask if mask is None else mask)
        query, key, value = self.project(inputs)
        query, key = self.rotate(_positions(ops.shape(inputs)[1], reset, mask), query, key)
        documents = None if reset is None else document_numbers(reset, mask)
        return self.join(self.attend(query, key, value, documents, mask))

    def _steps(self, query, key, value, state, reset, mask):
        keys, values, marks = self.in_order(state)
        past, length = ops.shape(marks)[1], ops.shape(query)[1]
        taken = ops.cast(marks, "bool")
        real = ops.ones(ops.shape(query)[:2], "bool") if mask is None else mask
        visible = ops.concatenate([taken, real], axis=1)
        new = None if reset is None else ops.concatenate([ops.zeros_like(taken), reset], axis=1)
        positions = _positions(past + length, new, visible)
        query, key = self.rotate(positions[:, past:], query, key)
        keys, values = ops.concatenate([keys, key], axis=1), ops.concatenate([values, value], axis=1)
        documents = None if new is None else document_numbers(new, visible)
        outputs = self.join(self.attend(query, keys, values, documents, visible))
        if documents is not None:
            visible = ops.logical_and(visible, documents == documents[:, -1:])
        marks = self.marks_of(positions, visible)
        if mask is not None:
            # Keys that no query sees move to the front, where they can be cut off.
            sources, _ = real_steps_last(visible)
            keys, values, marks, visible = (take_steps(x, sources) for x in (keys, values, marks, visible))
        if reset is not None or mask is not None:
            # They become zeros, because a step multiplies them by zero.
            keys, values = (
                ops.where(ops.expand_dims(visible, (2, 3)), x, ops.zeros((), x.dtype)) for x in (keys, values)
            )
        return outputs, type(state)(keys, values, marks)

    def _step(self, query, key, value, state):
        marks = state[2]
        position = ops.sum(ops.cast(ops.cast(marks, "bool"), "int32"), axis=1, keepdims=True)
        query, key = self.rotate(position, query, key)
        new = key, value, self.marks_of(position, ops.ones_like(position, "bool"))
        if isinstance(state, self.room_type):
            place = ops.subtract(marks.shape[1] - 1, position)[:, 0]
            state = self.room_type(*(write_place(x, place, step) for x, step in zip(state, new, strict=True)))
        else:
            state = self.state_type(*(ops.concatenate(both, axis=1) for both in zip(state, new, strict=True)))
        keys, values, marks = state
        return self.join(step_attention(query, keys, values, self.seen_by(position, marks))), state


def _positions(length, reset, real):
    """Positions in the document, `(T,)`, or `(B, T)` where documents differ in a row, and only real steps count."""
    steps = ops.arange(length, dtype="int32")
    if reset is None and real is None:
        return steps
    if real is None:
        counted = ops.broadcast_to(steps, ops.shape(reset))
    else:
        counted = ops.cumsum(ops.cast(real, "int32"), axis=1) - 1
    if reset is None:
        return counted
    return counted - at_latest(reset if real is None else ops.logical_and(reset, real), counted)
