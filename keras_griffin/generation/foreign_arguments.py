"""Arguments of other libraries' `generate`, refused with their equivalents here."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")

#: By the name of an argument of Keras Hub or transformers, its equivalent here.
EQUIVALENTS = {
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


def rejects_foreign_arguments(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """A decorator: `function` raises for arguments of other libraries and names their equivalents."""

    @functools.wraps(function)
    def refusing(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        for name, equivalent in EQUIVALENTS.items():
            if name in kwargs:
                raise TypeError(
                    f"{function.__name__}: {name} must be written as {equivalent}. Got {name}={kwargs[name]!r}."
                )
        return function(*args, **kwargs)

    return refusing
