"""A state that follows from its declaration."""

from typing import Any

import numpy as np
from keras import ops

from keras_griffin.layers.declared import Declared, Kept
from keras_griffin.shapes import State


class FlatState(Declared):
    """A layer whose state is a NamedTuple of tensors, those that `kept_of` declares, in its order."""

    def kept(self, width: int) -> dict[str, Kept]:
        """`kept_of`, with this layer's arguments.

        Args:
            width: D, the width of its inputs.
        """
        arguments: dict[str, Any] = {name: getattr(self, name) for name in self.argument_names()}
        return self.kept_of(width, 0, **arguments)

    def dtype_of(self, part: Kept) -> str:
        """The dtype of a part of the state."""
        return part.dtype or self.compute_dtype

    def initial_state(self, batch_size: int) -> State:
        """The state before the first step."""
        self.require_built("initial_state")
        state = {}
        for name, part in self.kept(self.width).items():
            zeros = ops.zeros((batch_size, *part.shape), self.dtype_of(part))
            state[name] = zeros + part.start if part.start else zeros
        return self.state_type(**state)

    def initial_arrays(self, batch_size: int) -> State:
        """`initial_state` as NumPy arrays, for a layer that is built while it is traced."""
        parts = self.kept(self.width).values()
        return self.state_type(*(np.full((batch_size, *part.shape), part.start, self.dtype_of(part)) for part in parts))
