"""Batches of windows of a long text, for `model.fit` and `model.evaluate`."""

import keras
import numpy as np

from keras_griffin.checks import COUNT, checked, integer_from


class RandomWindows(keras.utils.PyDataset):
    """Batches of windows at random positions of a text, new ones in every epoch.

    A batch depends only on the seed, the epoch and its index in the epoch, so an interrupted run can resume anywhere.

    Args:
        text: `(T,)` uint8, or any other integers.
        sequence_length: how many tokens the model sees, and predicts, at once.
        batch_size: windows in a batch.
        num_batches: batches in an epoch.
        seed: of the windows' positions.

    Attributes:
        epoch: counts from 0; `fit` advances it through `on_epoch_end`.

    Returns:
        Each batch is `(token_ids, targets)`, both `(B, sequence_length)` int32; targets are one position ahead.

    Raises:
        ValueError: the text is not integers, or has no window of that length; or a number is out of range.

    Examples:
        >>> import numpy as np
        >>> from keras_griffin.training.data.byte_windows import RandomWindows
        >>> text = np.arange(100, dtype="uint8")
        >>> windows = RandomWindows(text, sequence_length=8, batch_size=4, num_batches=10)
        >>> token_ids, targets = windows[0]
        >>> token_ids.shape, (targets == token_ids + 1).all().item()
        ((4, 8), True)
    """

    def __init__(self, text: np.ndarray, sequence_length: int, batch_size: int, num_batches: int, seed: int = 0):
        super().__init__()
        self.text = text = _checked_text("RandomWindows", text, sequence_length)
        checked("RandomWindows", COUNT, batch_size=batch_size)
        checked("RandomWindows", COUNT, num_batches=num_batches)
        checked("RandomWindows", integer_from(0), seed=seed)
        self.batch_size = batch_size
        self.seed = seed
        self._num_batches = num_batches
        self._offsets = np.arange(sequence_length + 1)
        self.epoch = 0

    @property
    def num_batches(self):
        """Batches in an epoch."""
        return self._num_batches

    def on_epoch_end(self):
        """Advance to the next epoch, with new windows."""
        self.epoch += 1

    def __getitem__(self, index):
        rng = np.random.default_rng((self.seed, self.epoch, index))
        starts = rng.integers(len(self.text) - len(self._offsets) + 1, size=(self.batch_size, 1))
        windows = self.text[starts + self._offsets].astype("int32")
        return windows[:, :-1], windows[:, 1:]


class HeldOutWindows(keras.utils.PyDataset):
    """A text cut into windows that together predict every byte except the first exactly once.

    All batches have the same shape: the last window ends with the text, and its overlap with the window before, like
    the windows that fill the last batch, has weight zero. A weighted mean over the batches is the mean over the text.

    Args:
        text: `(T,)` uint8, or any other integers.
        sequence_length: how many tokens the model sees, and predicts, at once.
        batch_size: windows in a batch.
        windows: how many windows to take, evenly spread over the text; None takes all.

    Returns:
        Each batch is `(token_ids, targets, weights)`, all `(B, sequence_length)`, of int32, int32 and float32.

    Raises:
        ValueError: the text is not integers, or has no window of that length; or a number is out of range.

    Examples:
        >>> import numpy as np
        >>> from keras_griffin.training.data.byte_windows import HeldOutWindows
        >>> held_out = HeldOutWindows(np.arange(100, dtype="uint8"), sequence_length=8, batch_size=4)
        >>> held_out.num_batches, int(sum(weights.sum() for _, _, weights in held_out))
        (4, 99)
    """

    def __init__(self, text: np.ndarray, sequence_length: int, batch_size: int, windows: int | None = None):
        super().__init__()
        self.text = text = _checked_text("HeldOutWindows", text, sequence_length)
        checked("HeldOutWindows", COUNT, batch_size=batch_size)
        checked("HeldOutWindows", COUNT.or_none(), windows=windows)
        self.batch_size = batch_size
        self._offsets = np.arange(sequence_length + 1)
        # A window whose first token is at s predicts the bytes s + 1 to s + sequence_length.
        first_new = np.arange(0, len(text) - 1, sequence_length)
        if windows is not None and windows < len(first_new):
            first_new = first_new[np.linspace(0, len(first_new) - 1, windows).round().astype("int64")]
        self._first_new = first_new
        self._starts = np.minimum(first_new, len(text) - 1 - sequence_length)

    @property
    def num_batches(self):
        """The number of batches for all windows."""
        return -(-len(self._starts) // self.batch_size)

    @property
    def num_predictions(self) -> int:
        """How many bytes are predicted."""
        sequence_length = len(self._offsets) - 1
        return int((self._starts + sequence_length - self._first_new).sum())

    def __getitem__(self, index):
        chosen = np.arange(index * self.batch_size, (index + 1) * self.batch_size)
        is_filling = chosen >= len(self._starts)
        chosen = np.minimum(chosen, len(self._starts) - 1)
        positions = self._starts[chosen, None] + self._offsets
        windows = self.text[positions].astype("int32")
        is_new = (positions[:, :-1] >= self._first_new[chosen, None]) & ~is_filling[:, None]
        return windows[:, :-1], windows[:, 1:], is_new.astype("float32")


def _checked_text(name: str, text, sequence_length: int) -> np.ndarray:
    """The text as an array with at least one window of that length."""
    text = np.asarray(text)
    if text.ndim != 1 or text.dtype.kind not in "iu":
        raise ValueError(
            f"{name}: the text must be integers of shape (T,), such as np.frombuffer(text.encode(), 'uint8'). "
            f"Got dtype {text.dtype} and shape {text.shape}."
        )
    checked(name, integer_from(0), sequence_length=sequence_length)
    if sequence_length < 1 or len(text) <= sequence_length:
        raise ValueError(
            f"{name}: sequence_length must be at least 1 and less than the length of the text. "
            f"Got sequence_length {sequence_length} and a text of {len(text)}."
        )
    return text
