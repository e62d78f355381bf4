"""The residual blocks that a config describes."""

import keras

from keras_griffin.layers import ResidualBlock
from keras_griffin.layers.both_directions import BothDirections
from keras_griffin.models.config import GriffinConfig


def residual_blocks(
    config: GriffinConfig, policy: keras.DTypePolicy, *, dropout: float = 0.0, bidirectional: bool = False
) -> list[ResidualBlock]:
    """The block of each layer; layers that share weights have the same one."""

    def block(index):
        kind = config.mixer_names[index]

        def mixer(name):
            return config.mixer_class(kind)(**config.mixer_arguments(kind, index), name=name, dtype=policy)

        both = (mixer("forward"), mixer("backward")) if bidirectional else None
        return ResidualBlock(
            mixer("mixer") if both is None else BothDirections(*both, name="mixer", dtype=policy),
            config.mlp_width,
            norm_epsilon=config.norm_epsilon,
            norm=config.norm,
            output_variance_scale=2.0 / config.num_layers,
            dropout=dropout,
            dtype=policy,
            name=f"block_{index}",
        )

    blocks = {index: block(index) for index in dict.fromkeys(config.block_indices)}
    return [blocks[index] for index in config.block_indices]
