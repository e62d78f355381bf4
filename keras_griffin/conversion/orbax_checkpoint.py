"""Read a checkpoint of Orbax as NumPy arrays."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from keras_griffin.files.safetensors import StoredTensor


def open_orbax(path: Path) -> dict[str, StoredTensor]:
    """The arrays of an Orbax folder by name, nested names joined by dots, each restored separately on demand."""
    try:
        import orbax.checkpoint as orbax
    except ImportError as error:
        raise ImportError(
            f"open_checkpoint: an Orbax folder needs the package orbax-checkpoint: pip install 'keras-griffin[orbax]'. "
            f"Got {str(path)!r}."
        ) from error
    path = path.resolve()
    checkpointer = orbax.PyTreeCheckpointer()
    try:
        tree = checkpointer.metadata(path).item_metadata.tree
    except (AttributeError, OSError, KeyError, ValueError) as error:
        raise ValueError(f"open_checkpoint: the folder must be a valid Orbax checkpoint. Got {str(path)!r}.") from error

    def stored(keys, leaf) -> StoredTensor:
        def read():
            restored = checkpointer.restore(
                path,
                item=_nested(keys, 0),
                restore_args=_nested(keys, orbax.RestoreArgs(restore_type=np.ndarray)),
                partial_restore=True,
            )
            for key in keys:
                restored = restored[key]
            return restored

        return StoredTensor(tuple(leaf.shape), np.dtype(leaf.dtype), read)

    return {".".join(keys): stored(keys, leaf) for keys, leaf in _leaves(tree, ())}


def _leaves(tree, keys) -> Iterator[tuple]:
    if isinstance(tree, Mapping):
        for key, branch in tree.items():
            yield from _leaves(branch, (*keys, key))
    elif hasattr(tree, "shape") and hasattr(tree, "dtype"):
        yield keys, tree
    else:
        raise ValueError(
            f"open_checkpoint: the leaves of an Orbax tree must be arrays. Got a {type(tree).__name__} at "
            f"{'.'.join(keys)}."
        )


def _nested(keys, leaf) -> dict:
    for key in reversed(keys):
        leaf = {key: leaf}
    return leaf
