"""Any model around temporal layers as a stream: each of them starts from a given state in place of the initial one."""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from keras import ops

from keras_griffin.shapes import State, Tensor


class Stream:
    """What the outermost temporal layers of a call start from, and where they stop, in the order of their calls.

    Args:
        before: their states; None for initial ones.
    """

    def __init__(self, before: Sequence[State] | None = None):
        self.before = before
        self.layers: list[Any] = []
        self.after: list[State] = []

    def advance(
        self, layer: Any, inputs: Tensor, reset: Tensor | None = None, mask: Tensor | None = None, **others: Any
    ) -> Tensor:
        """The outputs of the layer's `call`, from its state in the stream."""
        given = [name for name, value in others.items() if value is not None]
        if given:
            raise ValueError(
                f"{type(layer).__name__}: in a stream a layer must be called with inputs, reset and mask alone. "
                f"Got {', '.join(given)} too."
            )
        number = len(self.layers)
        self.layers.append(layer)
        state = layer.initial_state(ops.shape(inputs)[0]) if self.before is None else self.before[number]
        # Where Keras keeps a mask for the next layer.
        mask = getattr(inputs, "_keras_mask", None) if mask is None else mask
        outputs, state = layer.advance(inputs, state, reset=reset, mask=mask)
        self.after.append(state)
        return layer.outputs_of_stream(outputs)


class _Streams(threading.local):
    """The stream of this thread. Not a context variable: Dynamo can't follow one."""

    def __init__(self):
        self.active: Stream | None = None


_streams = _Streams()


def active_stream() -> Stream | None:
    """The stream of the calls in this thread, if there is one."""
    return _streams.active


@contextlib.contextmanager
def streamed(stream: Stream) -> Iterator[Stream]:
    """Let the temporal layers that are called inside the block continue the stream."""
    outside, _streams.active = _streams.active, stream
    try:
        yield stream
    finally:
        _streams.active = outside
