"""JAX. The contract is in the package's docstring."""

import importlib
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import keras
import numpy as np

from keras_griffin.backends import numpy_backend
from keras_griffin.backends.numpy_backend import (  # noqa: F401
    DTYPE_NAMES,
    before_config_is_written,
    before_first_step,
    has_strategy,
    is_exported,
    is_transformed,
    store_by_column,
    without_gradients,
)

#: In bytes; JAX copies memory that is not aligned to this.
_ALIGNMENT = 64


def device_kind() -> str:
    """The kind of JAX's default device, which `keras.device` and `jax.default_device` scopes change."""
    device = jax.config.jax_default_device or jax.default_backend()
    platform = device if isinstance(device, str) else device.platform
    return platform if platform in ("cpu", "tpu") else "gpu"


def places(variables) -> tuple:
    """The variables themselves, and the kind of the device, for which functions of them are compiled."""
    return device_kind(), *numpy_backend.places(variables)


def has_threads() -> bool:
    """Those of XLA."""
    return True


def has_values(tensors) -> bool:
    """False while a function of them is being compiled or differentiated."""
    return not any(isinstance(tensor, jax.core.Tracer) for tensor in tensors)


def sync_variables(model) -> None:
    """Between steps the loop of `fit` holds the values, and the variables are empty."""
    model.jax_state_sync()


def keep_programs(find_folder: Callable[[], str | None]) -> None:
    """JAX's persistent cache, of all programs: a decoding step and its setting up are many small ones."""
    folder = find_folder() if jax.config.jax_compilation_cache_dir is None else None
    if folder is not None:
        jax.config.update("jax_compilation_cache_dir", folder)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        _report_once(folder)


def _report_once(folder: str) -> None:
    """Let JAX's warnings of programs that it can't read or write be one line, and damaged programs be replaced."""
    # JAX would warn of each at every start, since it never overwrites a file.
    show, subject, reported = warnings.showwarning, " persistent compilation cache entry for ", False

    def show_or_report(message, *arguments, **named):
        nonlocal reported
        action, is_subject, reason = str(message).partition(subject)
        if not is_subject:
            show(message, *arguments, **named)
            return
        if action.endswith("reading"):
            for path in Path(folder).glob("*-cache"):
                path.unlink(missing_ok=True)
        if not reported:
            reported = True
            rule = "intact; they are compiled anew" if action.endswith("reading") else "on a disk with enough space"
            print(f"keep_programs: the programs in {folder!r} must be {rule}. Got {reason}.", file=sys.stderr)

    warnings.showwarning = show_or_report


def owned_copy(array: np.ndarray, dtype: np.dtype) -> jax.Array:
    """Copied once, into memory that JAX owns; on a CPU nothing else is allocated."""
    memory = np.empty(array.size * dtype.itemsize + _ALIGNMENT, "uint8")
    start = -memory.ctypes.data % _ALIGNMENT
    aligned = memory[start : start + array.size * dtype.itemsize].view(dtype).reshape(array.shape)
    aligned[...] = array
    return jax.device_put(aligned)


def int8_product(rows, matrix):
    """Of at least two rows on a CPU: for one, XLA makes an int32 copy of the matrix, and takes four times as long."""
    count = rows.shape[0]
    if count == 1 and device_kind() == "cpu":
        rows = jnp.concatenate([rows, rows])
    return jnp.dot(rows, matrix, preferred_element_type=jnp.int32)[:count]


def compiled(function):
    """Compiled for each new shape. A new function each time, so that no earlier trace is reused."""
    return jax.jit(lambda *arguments, **named: function(*arguments, **named))


def value_and_gradient(function, tensors):
    """Compiled."""
    gradient = jax.jit(jax.value_and_grad(function, argnums=tuple(range(len(tensors)))))
    return gradient(*tensors)


def process() -> tuple[int, int]:
    """One process without an active `keras.distribution`: each then trains its own model."""
    if keras.distribution.distribution() is None:
        return 0, 1
    return jax.process_index(), jax.process_count()


def gathered(array: np.ndarray) -> np.ndarray:
    """By `process_allgather`."""
    return np.asarray(_multihost().process_allgather(array))


def sent(array: np.ndarray, source: int) -> np.ndarray:
    """By `broadcast_one_to_all`."""
    return np.asarray(_multihost().broadcast_one_to_all(array, jax.process_index() == source))


def whole(value: jax.Array) -> np.ndarray:
    """An array of which each process may hold a part; all must call this."""
    if value.is_fully_addressable or value.is_fully_replicated:
        return np.asarray(value)
    return np.asarray(_multihost().process_allgather(value, tiled=True))


def _multihost():
    # JAX does not import this module, and a single process does not need it.
    return importlib.import_module("jax.experimental.multihost_utils")
