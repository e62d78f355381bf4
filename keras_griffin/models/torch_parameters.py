"""Whether a model's parameters are still those that Keras computes with."""

import torch


def replaced_parameter_type(model: torch.nn.Module) -> str | None:
    """The type of a parameter that has replaced a Keras variable's, such as `DTensor`, or None."""
    # Dividing parameters over processes requires a process group; without one there is nothing to look for.
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return None
    for module in (model, *model.layers):
        for parameter in module.parameters():
            if type(parameter) is not torch.nn.Parameter:
                return type(parameter).__name__
    return None
