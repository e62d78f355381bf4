"""A model's parameters while it computes: whole, or divided over processes."""

import contextlib
from collections.abc import Callable

import keras

if keras.backend.backend() == "torch":
    from keras_griffin.models.torch_parameters import strange_parameter
else:

    def strange_parameter(model: keras.Model) -> str | None:
        """None: other backends have only variables."""
        return None


def with_whole_weights(model: keras.Model, function: Callable, *args, **kwargs):
    """The result of a function that computes with a model's weights; divided weights are gathered for it.

    Args:
        model: a `LanguageModel`, or a model that shares one's weights.
        function: called with the given arguments.

    Raises:
        ValueError: as for `check_parameters`, or for `DividedParameters.run` of `keras_griffin.distribution`.
    """
    divided = divided_parameters_of(model)
    if divided is not None:
        return divided.run(model, function, *args, **kwargs)
    check_parameters(model)
    return function(*args, **kwargs)


def reset_on_error(model: keras.Model) -> contextlib.AbstractContextManager:
    """A `with` block whose failure, in either direction of a step, does not affect the next step."""
    divided = divided_parameters_of(model)
    return contextlib.nullcontext() if divided is None else divided.reset_on_error()


def divided_parameters_of(model: keras.Model):
    """The result of `keras_griffin.distribution.fully_shard` for a model, or for the one it shares, or None."""
    language_model = getattr(model, "known_language_model", lambda: None)()
    return getattr(language_model, "divided_parameters", None)


def is_divided(variable: keras.Variable) -> bool:
    """Whether each process holds a part of a variable, whose value is then read and written as a whole."""
    return hasattr(variable, "parts")


def whole(tensor):
    """A tensor that may be divided, such as a function of divided gradients, as a whole on each process."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def check_parameters(model: keras.Model) -> None:
    """Refuse a model whose parameters PyTorch alone has divided, for example by `torch.distributed.fsdp.fully_shard`.

    Keras computes with its variables, which would be neither divided nor trained: an optimizer of the parameters would
    update tensors that no output depends on.

    Args:
        model: a built model.

    Raises:
        ValueError: they are divided.
    """
    strange = strange_parameter(model)
    if strange is not None:
        raise ValueError(
            f"{type(model).__name__}: a model's parameters must be its variables' values; "
            "keras_griffin.distribution.fully_shard divides both, and DistributedDataParallel keeps them. "
            f"Got a {strange}, as created by torch.distributed.fsdp.fully_shard."
        )
