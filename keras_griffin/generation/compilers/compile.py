"""Prepare the functions of the generation loop for the active backend; safe for threads.

JAX and TensorFlow compile a function once for each input shape. PyTorch and NumPy run it eagerly; PyTorch records a
step that runs often. OpenVINO would recompile each step, for minutes, and is refused.
"""

import contextlib
import functools
import importlib
import threading
import weakref
from collections.abc import Callable

import keras

from keras_griffin import backends

#: The backends that compile for each shape: they need few shapes, and the loop inside the compiled function.
COMPILING = ("jax", "tensorflow")
#: For each live model: its variables and where their values are, and its prepared functions by key.
_prepared: weakref.WeakKeyDictionary[keras.Model, tuple[tuple, dict[tuple, Callable]]] = weakref.WeakKeyDictionary()
#: Prepared functions run without it. Reentrant, because looking up a sampler may call its own `__eq__`.
_table = threading.RLock()
#: How many functions of one model are cached, those asked for last: there is one for each sampler.
_CACHE_SIZE = 16


def compiles() -> bool:
    """Whether the active backend compiles for each shape."""
    return keras.backend.backend() in COMPILING


def tensors_alone(who: str):
    """A `with` block in which reading a tensor's values raises, if the backend records; `who` begins the message."""
    return _module().TensorsAlone(who) if keras.backend.backend() == "torch" else contextlib.nullcontext()


def prepared(function: Callable, model, *, is_step: bool = False, donates: bool = True, **fixed) -> Callable:
    """`function(model, state, ..., **fixed)` as a function of `(state, ...)`, prepared for the backend.

    The function is cached while the model lives and has the same variables, and holds the model weakly. If it
    `donates`, JAX overwrites the state that it is given. PyTorch records it if it `is_step`, called for every token;
    the recurrence of a prompt is a loop over time, which would be unrolled. The arguments in `fixed` are hashable.
    """
    if keras.backend.backend() == "openvino":
        raise ValueError(
            "generation: KERAS_BACKEND must be one of jax, torch, tensorflow, numpy, also for scores and `step`. Got "
            "openvino, which supports calls and `predict` only."
        )
    # Different variables, as after `quantize` or `enable_lora`, need a different function, and so do values elsewhere:
    # what is recorded reads them where they were.
    variables = backends.active().places(model.variables)
    key = (function, *sorted(fixed.items()))
    with _table:
        if model not in _prepared or _prepared[model][0] != variables:
            _prepared[model] = variables, {}
        functions = _prepared[model][1]
        if key not in functions:
            if len(functions) >= _CACHE_SIZE:
                functions.pop(next(iter(functions)))
            functions[key] = _prepare(functools.partial(function, **fixed), model, is_step, donates)
        # The newest stand at the end.
        functions[key] = functions.pop(key)
        return functions[key]


def forget(model) -> None:
    """Drop the functions that are prepared for a model, and the weights that recorded ones hold."""
    with _table:
        _prepared.pop(model, None)


def _prepare(function, model, is_step, donates):
    backend = keras.backend.backend()
    if backend not in (*COMPILING, "torch"):
        reference = weakref.ref(model)
        return lambda state, *arguments: function(reference(), state, *arguments)
    if backend == "jax":
        return _module().compile_for_model(function, model, donates)
    record = backend == "torch" and is_step
    return _module().record_for_model(function, model) if record else _module().compile_for_model(function, model)


def _module():
    return importlib.import_module(f"keras_griffin.generation.compilers.{keras.backend.backend()}_compile")
