"""Where a model's parameters are while it computes: whole, or divided over processes."""

import contextlib
from collections.abc import Callable

import keras

if keras.backend.backend() == "torch":
    from keras_griffin.models.torch_parameters import strange_parameter
else:

    def strange_parameter(model: keras.Model) -> str | None:
        """Other backends have variables alone."""
        return None


def with_whole_weights(model: keras.Model, function: Callable, *args, **kwargs):
    """What a function gives that computes with a model's weights; those that are divided are gathered for it.

    Args:
        model: a `LanguageModel`, or a model that shares one's weights.
        function: called with the arguments.

    Raises:
        ValueError: as `check_parameters`, or as `DividedParameters.run` of `keras_griffin.distribution`.
    """
    divided = divided_parameters_of(model)
    if divided is not None:
        return divided.run(model, function, *args, **kwargs)
    check_parameters(model)
    return function(*args, **kwargs)


def begun_anew_after_a_fault(model: keras.Model) -> contextlib.AbstractContextManager:
    """A `with` block whose failure, in either direction of a step, does not reach into the next step."""
    divided = divided_parameters_of(model)
    return contextlib.nullcontext() if divided is None else divided.begun_anew_after_a_fault()


def divided_parameters_of(model: keras.Model):
    """What `keras_griffin.distribution.fully_shard` has made of any model or of the one that it shares; or None."""
    language_model = getattr(model, "known_language_model", lambda: None)()
    return getattr(language_model, "divided_parameters", None)


def is_divided(variable: keras.Variable) -> bool:
    """Whether each process holds a part of a variable; then its value is read and written as a whole."""
    return hasattr(variable, "parts")


def whole(tensor):
    """A tensor as each process has it, of one that may be divided, such as what is computed of divided gradients."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def check_parameters(model: keras.Model) -> None:
    """Refuse a model whose parameters PyTorch alone has divided, as `torch.distributed.fsdp.fully_shard` does.

    Keras computes with its variables, and those would be neither divided nor trained: an optimizer of the parameters
    would move what no output depends on.

    Args:
        model: built.

    Raises:
        ValueError: so it is.
    """
    strange = strange_parameter(model)
    if strange is not None:
        raise ValueError(
            f"{type(model).__name__}: a model's parameters must be its variables' values; "
            "keras_griffin.distribution.fully_shard divides both, and DistributedDataParallel keeps them. "
            f"Got a {strange}, as torch.distributed.fsdp.fully_shard makes."
        )
