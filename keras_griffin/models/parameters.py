"""A look at a model's parameters, before it computes with what nobody trains."""

import keras

if keras.backend.backend() == "torch":
    from keras_griffin.models.torch_parameters import strange_parameter
else:

    def strange_parameter(model: keras.Model) -> None:
        """Other backends have variables alone."""


def check_parameters(model: keras.Model) -> None:
    """Refuse a model whose parameters PyTorch has divided, as `torch.distributed.fsdp.fully_shard` does.

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
            f"{type(model).__name__}: on PyTorch each process must have whole parameters, those of the model's "
            "variables; DistributedDataParallel keeps them, and keras.distribution.ModelParallel, on JAX, "
            "divides them. "
            f"Got a {strange}, as fully_shard makes."
        )
