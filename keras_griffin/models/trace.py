"""Gates, decays and states of the recurrences while a model reads a text."""

from collections.abc import Iterable
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from keras_griffin.checks import COUNT, Rule, checked, is_integer
from keras_griffin.generation.capacity import at_the_same_capacity, grows, with_capacity
from keras_griffin.generation.compilers.compile import prepared
from keras_griffin.generation.prompt import CHUNK, Prompt, read_prompt
from keras_griffin.layers.base.sequence_layer import SequenceLayer
from keras_griffin.layers.base.sublayers import observed, with_parts

CHANNELS = Rule(
    "None, a number of channels or their indices",
    lambda value: value is None or COUNT.holds(value) or (isinstance(value, (list, tuple)) and _are_indices(value)),
)


@dataclass(frozen=True)
class LayerTrace:
    """The internal values of one recurrence at each of T tokens.

    Args:
        layer: the layer's path, `block_0/mixer/rg_lru`.
        channels: `(C,)` int, the recorded channels of the layer's R.
        values: `(T, C)` float32 by name: `recurrence_gate` and `input_gate`, from 0 to 1; `log_decay`, ln a_t, -inf
            at the start of the text; `state`, h_t. In a complex unit decay and state are magnitudes.
        state_norm: `(T,)` float32, the root of the mean of h_t^2 over all R channels.
    """

    layer: str
    channels: np.ndarray
    values: dict[str, np.ndarray]
    state_norm: np.ndarray

    @property
    def half_lives(self) -> np.ndarray:
        """`(C,)` float64: tokens until a channel's state has halved, ln 2 / -mean_t ln a_t; NaN for a single token."""
        log_decay = np.asarray(self.values["log_decay"], "float64")
        later = log_decay[np.isfinite(log_decay).all(axis=1)]
        if not len(later):
            return np.full(log_decay.shape[1], np.nan)
        with np.errstate(divide="ignore"):
            return np.log(2.0) / -later.mean(axis=0)


@dataclass(frozen=True)
class Trace:
    """The internal values of a model's recurrences while it reads a text.

    Args:
        token_ids: `(T,)` int32, as they were read.
        layers: a `LayerTrace` by the path of each recurrence, from the first block to the last.
    """

    token_ids: np.ndarray
    layers: dict[str, LayerTrace]


def trace(self: keras.Model, text: Prompt, *, channels: int | Iterable[int] | None = None, chunk: int = CHUNK) -> Trace:
    """Read a text from the start, and record the gates, decays and states of each recurrence at each token.

    Device memory is that of a chunk and the state: no more for a longer text, unless attention is global. The result
    has four numbers for each token, layer and channel; use `channels` to record fewer channels of a wide model.

    Args:
        text: a text, or its ids, `(T,)` or `(1, T)`.
        channels: which channels of each layer to record: a number of them, evenly spread; their indices; or None for
            all.
        chunk: the number of tokens read at a time; affects memory, not results.

    Returns:
        A `Trace`.

    Raises:
        ValueError: the text is empty, or more than one; ids are not integers or outside the vocabulary; the channels
            are neither a number nor indices valid in each layer; or `chunk` is below 1.

    Examples:
        >>> import numpy as np
        >>> from keras_griffin.models import Griffin, GriffinConfig
        >>> model = Griffin(GriffinConfig(vocabulary_size=256, width=32, num_layers=3, num_heads=2, window=8))
        >>> trace = model.trace(np.arange(20), channels=4)
        >>> list(trace.layers)
        ['block_0/mixer/rg_lru', 'block_1/mixer/rg_lru']
        >>> trace.layers["block_0/mixer/rg_lru"].values["state"].shape
        (20, 4)
    """
    channels = list(channels) if isinstance(channels, (range, np.ndarray)) else channels
    channels, chunk = checked("trace", CHANNELS, channels=channels), checked("trace", COUNT, chunk=chunk)
    token_ids = one_text("trace", self, text)
    # Copies, because donated tensors must not be the same.
    state = keras.tree.map_structure(ops.copy, self.initial_state(1))
    pieces: dict[str, list[tuple]] = {}
    if grows(state):
        state = with_capacity(state, len(token_ids))
    for start in range(0, len(token_ids), chunk):
        state, noted = prepared(_read_chunk, self)(state, token_ids[None, start : start + chunk])
        for path, (values, norm) in noted.items():
            chosen = _chosen(path, channels, values["state"].shape[-1])
            piece = {name: _row(value)[:, chosen] for name, value in values.items()}
            pieces.setdefault(path, []).append((chosen, piece, _row(norm)))
    # JAX sorts what a compiled function returns by name, block_10 before block_2.
    paths = [layer.path for layer in with_parts(self.blocks) if layer.path in pieces]
    return Trace(token_ids, {path: _joined(path, *zip(*pieces[path], strict=True)) for path in paths})


def one_text(function_name: str, model: keras.Model, text: Prompt) -> np.ndarray:
    """The ids `(T,)` int32 of a text, T at least 1.

    Args:
        function_name: the function's name, for error messages.
        model: a `LanguageModel`.
        text: a text, or its ids, `(T,)` or `(1, T)`.

    Raises:
        ValueError: there is no text, there are several, or the model can't read it.
    """
    if not isinstance(text, str) and np.ndim(text) == 1:
        text = np.asarray(text)[None]
    rows = read_prompt(function_name, text, model.config.vocabulary_size, model.tokenizer)
    if len(rows) != 1 or not rows[0].size:
        raise ValueError(f"{function_name}: there must be one text of at least one token. Got {len(rows)} rows.")
    return rows[0]


def _read_chunk(model, state, token_ids):
    """The state after a chunk, and by path each recurrence's values at its tokens, with the norm of its state."""
    noted = {}

    def note(layer, inputs, outputs, reset):
        values = layer.trace_of(inputs, outputs)
        if values:
            if reset is not None:
                values["log_decay"] = ops.where(ops.expand_dims(reset, -1), -np.inf, values["log_decay"])
            noted[layer.path] = values, ops.sqrt(ops.mean(values["state"] ** 2, axis=-1))

    with observed([part for part in with_parts(model.blocks) if isinstance(part, SequenceLayer)], advance=note):
        _, after = model.advance_without_logits(token_ids, state)
    return at_the_same_capacity(after, state), noted


def _are_indices(values):
    return len(values) > 0 and all(is_integer(index) and index >= 0 for index in values)


def _chosen(path, channels, width):
    """The indices of the recorded channels."""
    if channels is None:
        return np.arange(width)
    if isinstance(channels, int):
        return np.unique(np.linspace(0, width - 1, min(channels, width)).round().astype(int))
    if max(channels) >= width:
        raise ValueError(f"trace: channels must be below the {width} channels of {path}. Got {max(channels)}.")
    return np.asarray(channels)


def _joined(path, chosen, values, norms):
    """The pieces of a layer, concatenated."""
    joined = {name: np.concatenate([piece[name] for piece in values]) for name in sorted(values[0])}
    return LayerTrace(path, chosen[0], joined, np.concatenate(norms))


def _row(x) -> np.ndarray:
    """The only row, as an array."""
    return np.asarray(ops.convert_to_numpy(x))[0]
