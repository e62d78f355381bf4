"""Save and load states.

The file is a safetensors file with the state's tensors by their paths, such as `blocks.0.unit.hidden`. Its metadata:

    format      "keras_griffin state 2"
    kinds       JSON: for each part that is a NamedTuple {"type": its name, "parts": {field: part}}, for a tuple a list
                of its parts, for a tensor its name in the file
    crc32       JSON: a checksum of each tensor's bytes, by its name
    sum         a checksum of the other three, and of the tensors' dtypes and shapes
"""

import json
import os
import zlib

import keras
import numpy as np
from keras import ops

from keras_griffin.files.safetensors import InMemory, SafeTensors, safetensors_pieces, write_safetensors
from keras_griffin.generation.capacity import walk
from keras_griffin.generation.state import LanguageModelState
from keras_griffin.layers import UNITS
from keras_griffin.layers.base.declared import Declared
from keras_griffin.layers.temporal_conv import TemporalConvState
from keras_griffin.mixers import MIXERS, UnitBlock
from keras_griffin.shapes import State

FORMAT = "keras_griffin state 2"
#: The limit for a file's nesting; a model's state has five levels.
MOST_LEVELS = 32
_KINDS: tuple[type[Declared], ...] = (*MIXERS.values(), UnitBlock, *UNITS.values())
#: The types of states by name. `register_state_type` adds that of a custom mixer.
STATE_TYPES = {kind.state_type.__name__: kind.state_type for kind in _KINDS}


def register_state_type(state_type: type) -> type:
    """Register the NamedTuple that is the state of a custom mixer, for `load_state`; usable as a decorator.

    Raises:
        ValueError: another type has that name.
    """
    name = state_type.__name__
    if STATE_TYPES.setdefault(name, state_type) is not state_type:
        raise ValueError(f"register_state_type: a name must belong to one type. Got a second type named {name}.")
    return state_type


register_state_type(TemporalConvState)
register_state_type(LanguageModelState)


def save_state(state: State, path: str | os.PathLike) -> None:
    """Write a state to a safetensors file, which any backend reads.

    The file at `path` is replaced atomically.

    Args:
        state: of a model, or of a layer.
        path: of the file.

    Raises:
        ValueError: it is not a state, a NamedTuple of tensors and of such NamedTuples; or the type of a part is not
            registered.
    """
    arrays, metadata = _described(state)
    write_safetensors(path, arrays, metadata=metadata)


def state_to_bytes(state: State) -> bytes:
    """The bytes of the file that `save_state` writes."""
    return b"".join(safetensors_pieces(*_described(state)))


def state_from_bytes(content: bytes) -> State:
    """The state in the bytes of such a file; a ValueError for others."""
    return _read(InMemory(content), "bytes")


def _described(state):
    """The arrays and the metadata of a state's file."""
    if not isinstance(state, tuple) or not state:
        raise ValueError(f"save_state: the state must be a LanguageModelState, or that of a layer. Got {state!r}.")
    arrays = {}
    for steps, leaf, _ in walk(state):
        if not hasattr(leaf, "dtype"):
            raise ValueError(f"save_state: the state's parts must be tensors. Got {leaf!r} at {'.'.join(steps)}.")
        dtype = np.dtype(keras.backend.standardize_dtype(leaf.dtype))
        arrays[".".join(steps)] = np.ascontiguousarray(ops.convert_to_numpy(leaf)).astype(dtype, copy=False)
    kinds = _kinds(state, ())
    sums = {name: zlib.crc32(array.tobytes()) for name, array in arrays.items()}
    metadata = {"format": FORMAT, "kinds": json.dumps(kinds), "crc32": json.dumps(sums)}
    metadata["sum"] = _sum(metadata, {name: (array.dtype, array.shape) for name, array in arrays.items()})
    return arrays, metadata


def load_state(path: str | os.PathLike) -> State:
    """Read a state from a file that `save_state` wrote, on any backend.

    Tensors keep their saved dtypes; a model of another dtype rounds them when it continues from them. A model refuses a
    state whose parts or shapes do not fit. A state does not identify the weights that produced it: any model of the
    same shape continues from it, whatever its weights.

    Args:
        path: of the file.

    Raises:
        ValueError: the file holds no state, is truncated, or is damaged.
        FileNotFoundError: the file does not exist.

    Examples:
        >>> import tempfile
        >>> from keras_griffin.generation import load_state, save_state
        >>> from keras_griffin.models import Griffin, GriffinConfig
        >>> model = Griffin(GriffinConfig(vocabulary_size=256, width=32, num_layers=3, num_heads=2, window=8))
        >>> path = tempfile.mkdtemp() + "/prefix.safetensors"
        >>> save_state(model.prefill([[1, 2, 3]]), path)
        >>> load_state(path)
        LanguageModelState: 1 rows, 3 layers, 2,702 bytes; tokens seen: 3
    """
    try:
        tensors = SafeTensors(path)
    except ValueError as error:
        raise ValueError(str(error).replace("SafeTensors", "load_state", 1)) from error
    return _read(tensors, repr(str(path)))


def _read(tensors, source):
    """The state in the tensors of a file."""
    if tensors.metadata.get("format") != FORMAT:
        found = tensors.metadata.get("format", "tensors that are not a state")
        raise ValueError(f"load_state: the file must hold a {FORMAT!r}. Got {found!r} in {source}.")
    unread = set(tensors)

    def read(name):
        unread.remove(name)
        array = tensors[name]
        if zlib.crc32(array.tobytes()) != sums[name]:
            raise ValueError(f"the checksum of {name} does not match its bytes")
        return array

    try:
        described = {name: (tensors.dtype(name), tensors.shape(name)) for name in tensors}
        if _sum(tensors.metadata, described) != tensors.metadata["sum"]:
            raise ValueError("the checksum of its metadata does not match")
        sums = json.loads(tensors.metadata["crc32"])
        state = _build(json.loads(tensors.metadata["kinds"]), read)
        if unread or not isinstance(state, tuple):
            raise ValueError(f"its kinds omit {', '.join(sorted(unread)) or 'everything'}")
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"load_state: the file must be undamaged. Got {source}: {error}.") from error
    return keras.tree.map_structure(ops.convert_to_tensor, state)


def _kinds(state, path):
    """The metadata's `kinds` of a state."""
    if not isinstance(state, tuple):
        return ".".join(path)
    if not hasattr(state, "_fields"):
        return [_kinds(part, (*path, str(index))) for index, part in enumerate(state)]
    name = type(state).__name__
    if STATE_TYPES.get(name) is not type(state):
        raise ValueError(f"save_state: the state's types must be known; see register_state_type. Got {name}.")
    parts = zip(state._fields, state, strict=True)
    return {"type": name, "parts": {field: _kinds(part, (*path, field)) for field, part in parts}}


def _build(kinds, read, levels=MOST_LEVELS):
    if isinstance(kinds, str):
        return read(kinds)
    if not levels:
        raise ValueError(f"its kinds have more than {MOST_LEVELS} levels")
    if isinstance(kinds, list):
        return tuple(_build(part, read, levels - 1) for part in kinds)
    state_type = STATE_TYPES[kinds["type"]]
    return state_type(**{field: _build(part, read, levels - 1) for field, part in kinds["parts"].items()})


def _sum(metadata, tensors):
    """A checksum of the metadata, and of each tensor's name, dtype and shape."""
    described = sorted((name, str(dtype), list(shape)) for name, (dtype, shape) in tensors.items())
    signed = [metadata[name] for name in ("format", "kinds", "crc32")]
    return str(zlib.crc32(json.dumps([signed, described]).encode()))
