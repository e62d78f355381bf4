"""The checks of token ids, segment ids and targets, for every function that takes them."""

import reprlib
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from keras_griffin.models.documents import check_segment_ids
from keras_griffin.ops.implementation import builds_from_means


def check_token_ids(
    function_name: str, token_ids, vocabulary_size: int, *, what: str = "token ids", counts: np.ndarray | None = None
):
    """The ids `(B, T)`, a list as an array, unless they are known to be wrong where `counts (B, T)` is not False."""
    check_no_text(function_name, token_ids)
    token_ids = as_rows(function_name, token_ids, what)
    is_array = isinstance(token_ids, np.ndarray)
    if not (is_array or isinstance(token_ids, keras.KerasTensor) or ops.is_tensor(token_ids)):
        return token_ids
    if not is_array and builds_from_means():
        return token_ids
    # The values of tensors are not checked.
    dtype = keras.backend.standardize_dtype(token_ids.dtype)
    if "int" not in dtype:
        hint = '; put keras.Input((None,), dtype="int32") before it' if isinstance(token_ids, keras.KerasTensor) else ""
        raise ValueError(f"{function_name}: {what} must be integers{hint}. Got dtype {dtype}.")
    # TensorFlow may not know the number of axes.
    if getattr(token_ids.shape, "rank", 2) is not None and len(token_ids.shape) != 2:
        raise ValueError(f"{function_name}: {what} must have shape (B, T). Got {tuple(token_ids.shape)}.")
    if is_array:
        counted = token_ids if counts is None else token_ids[counts]
        if counted.size and not 0 <= counted.min() <= counted.max() < vocabulary_size:
            received = "targets" if what == "targets" else "ids"
            raise ValueError(
                f"{function_name}: {what} must be from 0 to {vocabulary_size - 1}. "
                f"Got {received} from {counted.min()} to {counted.max()}. Does the tokenizer belong to this model?"
            )
    return token_ids


def check_no_text(function_name: str, values) -> None:
    """Refuse text, alone or in lists and arrays, and show what reads it."""
    first = values
    while isinstance(first, (list, tuple)) and first:
        first = first[0]
    if not isinstance(first, (str, bytes)) and not (isinstance(first, np.ndarray) and first.dtype.kind in "US"):
        return
    how = ", as [tokenizer.encode(text)]; model.generate takes text itself"
    if function_name in ("fit", "evaluate"):
        how = (
            f": model.packed().{function_name}(PackedDocuments([tokenizer.encode(text) for text in texts], "
            "sequence_length, batch_size)), of keras_griffin.training"
        )
    raise ValueError(f"{function_name}: text must be given as token ids{how}. Got {reprlib.repr(values)}.")


def as_rows(function_name: str, values, what: str = "token ids"):
    """A list of rows as an array; anything else unchanged."""
    if not isinstance(values, (list, tuple)):
        return values
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{function_name}: {what} must be rows of one length. Got {values!r}.") from error


def check_inputs(function_name: str, inputs, names: Sequence[str], vocabulary_size: int, may_come_alone: bool = False):
    """The inputs, lists as arrays, unless they are for another kind of model or ids are known to be wrong."""
    # Without names a model takes token ids alone.
    check_no_text(function_name, inputs)
    if not names or (may_come_alone and not isinstance(inputs, dict)):
        return check_token_ids(function_name, _alone(function_name, inputs), vocabulary_size)
    if not isinstance(inputs, dict) or set(inputs) != set(names):
        kinds = {"packed": ("token_ids", "segment_ids"), "carried": ("token_ids", "segment_ids", "chunk")}
        other = [kind for kind, others in kinds.items() if isinstance(inputs, dict) and set(inputs) == set(others)]
        hint = f", which are for model.{other[0]}()" if other else ""
        raise ValueError(f"{function_name}: inputs must be a dict of {_listed(names)}. Got {_kind(inputs)}{hint}.")
    inputs = {name: as_rows(function_name, values, name) for name, values in inputs.items()}
    token_ids, segment_ids = inputs["token_ids"], inputs["segment_ids"]
    if not isinstance(token_ids, np.ndarray) and builds_from_means():
        return inputs
    # At padding any token is allowed, as its outputs are not used.
    both = isinstance(token_ids, np.ndarray) and isinstance(segment_ids, np.ndarray)
    counts = segment_ids > 0 if both and segment_ids.shape == token_ids.shape else None
    check_token_ids(function_name, token_ids, vocabulary_size, counts=counts)
    check_segment_ids(function_name, segment_ids, token_ids)
    return inputs


def _alone(function_name, inputs):
    """Token ids that are the only input."""
    is_list = isinstance(inputs, (list, tuple))
    # Numbers and rows of numbers are ids; anything else in a list is several inputs.
    if isinstance(inputs, dict) or (is_list and not all(isinstance(row, (list, tuple, range, int)) for row in inputs)):
        raise ValueError(
            f"{function_name}: the input must be token ids (B, T) alone, one document per row; for documents that "
            f"share rows, use model.packed(). Got {_kind(inputs)}."
        )
    return inputs


def _kind(inputs) -> str:
    what: object = _listed(sorted(map(str, inputs))) if isinstance(inputs, dict) else None
    what = len(inputs) if isinstance(inputs, (list, tuple)) else what
    return f"a {type(inputs).__name__}{'' if what is None else f' of {what}'}"


def _listed(names) -> str:
    *first, last = names or ("nothing",)
    return f"{', '.join(first)} and {last}" if first else last
