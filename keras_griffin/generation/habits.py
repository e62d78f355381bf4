"""Refuse arguments of other libraries' `generate`, naming the equivalent here."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")

#: The equivalent here of each argument that users of Keras Hub and transformers know.
HERE = {
    "max_length": "max_new_tokens, which does not count the prompt",
    "max_tokens": "max_new_tokens",
    "stop_token_ids": "stop_ids",
    "eos_token_id": "stop_ids",
    "do_sample": 'sampler="temperature", or sampler="greedy"',
    "temperature": "sampler=Temperature(t), from keras_griffin.generation",
    "top_k": "sampler=TopK(k), from keras_griffin.generation",
    "top_p": "sampler=TopP(p), from keras_griffin.generation",
    "min_p": "sampler=MinP(p), from keras_griffin.generation",
    "input_ids": "prompt",
    "inputs": "prompt",
}


def with_our_names(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Decorate a function to refuse arguments of other libraries with a hint; its visible signature is unchanged."""

    @functools.wraps(function)
    def refusing(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        for name in (name for name in HERE if name in kwargs):
            raise TypeError(
                f"{function.__name__}: {name} must be written as {HERE[name]}. Got {name}={kwargs[name]!r}."
            )
        return function(*args, **kwargs)

    return refusing
