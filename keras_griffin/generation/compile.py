"""What generation runs again and again, made ready for the active backend.

JAX and TensorFlow compile a function once for each shape that it meets. PyTorch runs it as it stands, and records a
step that is run often: see `torch_compile.py`. NumPy runs it as it stands. OpenVINO would compile each step anew, for
minutes, and is refused.

Any number of threads may ask. One at a time prepares; what is ready runs without a lock.
"""

import contextlib
import functools
import importlib
import threading
import weakref
from collections.abc import Callable

import keras

#: The backends that compile for each shape, so that few shapes are wanted, and loops within what is compiled.
COMPILING = ("jax", "tensorflow")
#: For each model that lives: the ids of the variables that it had, and its functions by what they do.
_prepared: weakref.WeakKeyDictionary[keras.Model, tuple[tuple[int, ...], dict[tuple, Callable]]] = (
    weakref.WeakKeyDictionary()
)
#: Held while the table is read and changed. Of the kind that its thread may take again: looking for a sampler may call
#: its own `__eq__`.
_table = threading.RLock()
#: How many functions of one model are kept, the newest: each sampler is one.
_KEPT = 16


def compiles() -> bool:
    """Whether the active backend compiles for each shape."""
    return keras.backend.backend() in COMPILING


def tensors_alone(who: str):
    """A `with` block in which tensors keep their values to themselves, where a function of them is to be recorded.

    Args:
        who: must compute with tensors alone: the beginning of the error's sentence.
    """
    return _module().TensorsAlone(who) if keras.backend.backend() == "torch" else contextlib.nullcontext()


def prepared(function: Callable, model, *, is_step: bool = False, **fixed) -> Callable:
    """`function(model, state, ..., **fixed)` as a function of `(state, ...)`, made ready for the backend.

    The function is kept for as long as the model lives and keeps its variables, and holds it weakly. It takes the
    buffers of the state that it is given, which is not to be used again.

    Args:
        function: of a model, a state and tensors; gives tensors.
        model: has `variables`.
        is_step: whether it is called for every token, so that PyTorch is to record it. A prompt is not recorded: its
            recurrence is a loop over time, which would be written out step by step.
        **fixed: hashable arguments that decide what is computed.

    Raises:
        ValueError: the backend is OpenVINO.
    """
    if keras.backend.backend() == "openvino":
        raise ValueError(
            "generation: KERAS_BACKEND must be one of jax, torch, tensorflow, numpy, also for scores and `step`. Got "
            "openvino, which is for calls and `predict`."
        )
    # Other variables, as after `quantize` or `enable_lora`, mean another computation.
    variables = tuple(id(variable) for variable in model.variables)
    key = (function, *sorted(fixed.items()))
    with _table:
        if model not in _prepared or _prepared[model][0] != variables:
            _prepared[model] = variables, {}
        functions = _prepared[model][1]
        if key not in functions:
            if len(functions) >= _KEPT:
                functions.pop(next(iter(functions)))
            functions[key] = _prepare(functools.partial(function, **fixed), model, is_step)
        return functions[key]


def _prepare(function, model, is_step):
    backend = keras.backend.backend()
    if backend not in (*COMPILING, "torch"):
        reference = weakref.ref(model)
        return lambda state, *arguments: function(reference(), state, *arguments)
    record = backend == "torch" and is_step
    return _module().record_for_model(function, model) if record else _module().compile_for_model(function, model)


def _module():
    return importlib.import_module(f"keras_griffin.generation.{keras.backend.backend()}_compile")
