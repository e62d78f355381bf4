"""The state of all rows between batches."""

import keras
from keras import ops

from keras_griffin.shapes import State, Tensor


class CarriedState(keras.layers.Layer):
    """A state in variables, which are saved with the model that owns them.

    Args:
        state: a state of the same structure, with B rows.
        **kwargs: `name`.

    Attributes:
        chunk: `(B,)` int32, the chunk that each row expects.
        out_of_order: int32, how many rows so far were neither chunk 0 nor the chunk that their row expected.
    """

    def __init__(self, state: State, **kwargs):
        super().__init__(**kwargs)
        leaves = enumerate(keras.tree.flatten(state))
        self._leaves = [self._zeros(f"leaf_{index}", leaf.shape, leaf.dtype) for index, leaf in leaves]
        self.chunk = self._zeros("chunk", state.segment.shape, "int32")
        self.out_of_order = self._zeros("out_of_order", (), "int32")
        self.built = True

    def _zeros(self, name, shape, dtype):
        dtype = keras.backend.standardize_dtype(dtype)
        # Not cast: a recurrent state is float32 whatever the compute dtype.
        return self.add_weight(tuple(shape), "zeros", dtype, trainable=False, autocast=False, name=name)

    def read(self, chunk: Tensor, initial_state: State) -> State:
        """The state from which each row continues: the carried one, or the initial one for chunk 0 or out of order.

        Args:
            chunk: `(B,)` int32: which chunk of its text each row is.
            initial_state: B rows.
        """
        follows = chunk == self.chunk.value
        goes_on = ops.logical_and(chunk > 0, follows)
        is_wrong = ops.logical_and(chunk > 0, ops.logical_not(follows))
        self.out_of_order.assign(self.out_of_order.value + ops.sum(ops.cast(is_wrong, "int32")))

        def pick(carried, initial):
            rows = ops.reshape(goes_on, (-1, *[1] * (len(initial.shape) - 1)))
            # A copy: PyTorch would find that a tensor needed for the gradient has been overwritten.
            return ops.where(rows, ops.copy(carried.value), initial)

        leaves = [pick(*pair) for pair in zip(self._leaves, keras.tree.flatten(initial_state), strict=True)]
        return keras.tree.pack_sequence_as(initial_state, leaves)

    def write(self, chunk: Tensor, state: State) -> None:
        """Store a state for the next batch; no gradient flows back from later batches.

        Args:
            chunk: `(B,)` int32: the chunk after which the rows are in that state.
            state: B rows.
        """
        for variable, leaf in zip(self._leaves, keras.tree.flatten(state), strict=True):
            variable.assign(ops.stop_gradient(leaf))
        self.chunk.assign(chunk + 1)
