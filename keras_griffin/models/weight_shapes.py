"""What a model's weights are called and how large they are, from its config alone: nothing is built.

By this a file is compared with what its config asks for, before the memory for it is taken.
"""

from collections.abc import Mapping

from keras_griffin.mixers import MIXERS
from keras_griffin.models.config import GriffinConfig

Shapes = dict[str, tuple[int, ...]]


def weight_shapes(config: GriffinConfig) -> Shapes:
    """The shape of each variable of a model, by its path.

    Args:
        config: the model's.

    Returns:
        Such as `{"block_0/mlp/up/kernel": (D, M), ...}`.

    Examples:
        >>> from keras_griffin.models import GriffinConfig
        >>> from keras_griffin.models.weight_shapes import weight_shapes
        >>> weight_shapes(GriffinConfig(vocabulary_size=256, width=32, num_layers=3, num_heads=2))["final_norm/scale"]
        (32,)
    """
    shapes = {"token_embedding/embeddings": (config.vocabulary_size, config.width), "final_norm/scale": (config.width,)}
    of_mixer = {
        name: MIXERS[name].weights_of(config.width, **config.mixer_arguments(name)) for name in set(config.mixer_names)
    }
    of_block = {
        "mixer_norm/scale": (config.width,),
        "mlp_norm/scale": (config.width,),
        **_dense("mlp/gate", config.width, config.mlp_width),
        **_dense("mlp/up", config.width, config.mlp_width),
        **_dense("mlp/down", config.mlp_width, config.width),
    }
    for index, name in enumerate(config.mixer_names):
        shapes |= {f"block_{index}/{path}": shape for path, shape in of_block.items()}
        shapes |= {f"block_{index}/mixer/{path}": weight.shape for path, weight in of_mixer[name].items()}
    return shapes


def check_num_layers(function_name: str, config: GriffinConfig, tensors: Mapping) -> None:
    """Refuse a config of more layers than there are tensors, for which even the names would take any memory.

    Args:
        function_name: in whose name the error speaks.
        config: what is asked for.
        tensors: what there is, by name.

    Raises:
        ValueError: so it is.
    """
    if config.num_layers > len(tensors):
        raise ValueError(
            f"{function_name}: each of the config's layers must have tensors of its own. "
            f"Got num_layers {config.num_layers} and {len(tensors)} tensors."
        )


def _dense(path: str, inputs: int, units: int) -> Shapes:
    return {f"{path}/kernel": (inputs, units), f"{path}/bias": (units,)}
