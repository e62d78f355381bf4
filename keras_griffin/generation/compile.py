"""What generation runs again and again, made ready for the active backend.

JAX and TensorFlow compile it once for each shape that it meets, in `<backend>_compile.py`; other backends run it as it
stands.
"""

import functools
import importlib
import weakref
from collections.abc import Callable
from typing import NamedTuple

import keras

from keras_griffin.generation.room import in_the_same_room
from keras_griffin.generation.samplers import Sampler
from keras_griffin.shapes import State, Tensor

_COMPILING = ("jax", "tensorflow")
#: For each model that lives: the ids of the variables that it had, and its functions.
_compiled = weakref.WeakKeyDictionary()


class ModelFunctions(NamedTuple):
    """What a model runs, as functions of `(token_ids (B, T), mask (B, T), state)`.

    Tokens are read where the mask is True. A state that grows must have room for them, and keeps its size. Compiled
    functions are compiled for each shape, hold the model weakly, and take the buffers of the state that they are given.
    """

    #: The state after the tokens.
    read: Callable
    #: The logits `(B, V)` after the last token, and the state.
    step: Callable
    compiled: bool


def model_functions(model) -> ModelFunctions:
    """The functions of a model; compiled ones are kept for as long as the model lives and keeps its variables."""
    backend = keras.backend.backend()
    if backend not in _COMPILING:
        prepare = _backend_module().compile_advance if backend == "torch" else functools.partial
        return ModelFunctions(prepare(_read, model), prepare(_step, model), compiled=False)
    # Other variables, as after `quantize` or `enable_lora`, mean another computation.
    variables = tuple(id(variable) for variable in model.variables)
    if model not in _compiled or _compiled[model][0] != variables:
        prepare = _backend_module().compile_advance
        _compiled[model] = variables, ModelFunctions(prepare(_read, model), prepare(_step, model), compiled=True)
    return _compiled[model][1]


@functools.lru_cache(maxsize=32)
def sampler_function(sampler: Sampler) -> Sampler:
    """The sampler, compiled where the backend compiles: by itself, so that another sampler leaves the model's alone."""
    return _backend_module().compile_sampler(sampler) if keras.backend.backend() in _COMPILING else sampler


def _read(model, token_ids: Tensor, mask: Tensor, state: State) -> State:
    return _advance(model, token_ids, mask, state)[1]


def _step(model, token_ids: Tensor, mask: Tensor, state: State) -> tuple[Tensor, State]:
    x, state = _advance(model, token_ids, mask, state)
    return model.logits(x[:, -1:])[:, 0], state


def _advance(model, token_ids, mask, state):
    # Every row goes on with the document that it is in, whatever its segment id.
    segment = keras.ops.maximum(state.segment, 1)
    marks = keras.ops.where(mask, segment[:, None], 0)
    x, after = model.advance_without_logits(token_ids, state, segment_ids=marks)
    return x, in_the_same_room(after, state)


def _backend_module():
    return importlib.import_module(f"keras_griffin.generation.{keras.backend.backend()}_compile")
