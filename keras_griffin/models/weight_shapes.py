"""The names and shapes of a model's weights from its config alone, for checks of files and layouts of meshes."""

from collections.abc import Mapping

from keras_griffin.layers.base.weights import Weight, dense_weights, within
from keras_griffin.layers.normalization import norm_weights
from keras_griffin.models.config import GriffinConfig

Shapes = dict[str, tuple[int, ...]]


def weight_shapes(config: GriffinConfig) -> Shapes:
    """The shape of each variable of a model, by its path: `{"block_0/mlp/up/kernel": (D, M), ...}`."""
    return {path: weight.shape for path, weight in model_weights(config).items()}


def model_weights(config: GriffinConfig) -> dict[str, Weight]:
    """Each variable of a model by its path: its shape, and how a mesh may divide it."""
    width, mlp, units = config.width, config.mlp_width, ("mlp_width", config.mlp_width)
    weights = {
        "token_embedding/embeddings": Weight((config.vocabulary_size, width), 0, stored=(1, 0)),
        **norm_weights("final_norm", config.norm, width),
    }
    if config.embedding_norm:
        weights |= norm_weights("token_embedding/norm", config.norm, width)
    if not config.tie_embeddings:
        weights["token_embedding/reverse_embeddings"] = Weight((width, config.vocabulary_size), 1, stored=(0, 1))
    names = config.mixer_names
    of_mixer = {name: config.mixer_class(name).weights_of(width, **config.mixer_arguments(name)) for name in set(names)}
    of_block = norm_weights("mixer_norm", config.norm, width)
    if mlp:
        of_block |= {
            **norm_weights("mlp_norm", config.norm, width),
            **dense_weights("mlp/gate", width, mlp, 1, units),
            **dense_weights("mlp/up", width, mlp, 1, units),
            **dense_weights("mlp/down", mlp, width, 0, units),
        }
    for index in dict.fromkeys(config.block_indices):
        weights |= within(f"block_{index}", {**of_block, **within("mixer", of_mixer[names[index]])})
    return weights


def check_num_layers(function_name: str, config: GriffinConfig, tensors: Mapping) -> None:
    """Refuse a config with more layers than a file has tensors, whose names alone could exhaust memory."""
    if config.num_layers > len(tensors):
        raise ValueError(
            f"{function_name}: each of the config's layers must have its own tensors. "
            f"Got num_layers {config.num_layers} and {len(tensors)} tensors."
        )
