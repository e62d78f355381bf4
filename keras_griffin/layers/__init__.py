"""The ops with weights: layers that every model shares."""

from keras_griffin.layers import units
from keras_griffin.layers.base.mixer import Mixer
from keras_griffin.layers.base.sequence_layer import SequenceLayer
from keras_griffin.layers.base.weights import StateSpec, Weight, dense_weights
from keras_griffin.layers.block_diagonal_dense import BlockDiagonalDense
from keras_griffin.layers.gated_mlp import GatedMLP
from keras_griffin.layers.initializers.decay_initializer import DecayInitializer
from keras_griffin.layers.projection import project, projection
from keras_griffin.layers.residual_block import ResidualBlock
from keras_griffin.layers.rms_norm import RMSNorm
from keras_griffin.layers.temporal_conv import TemporalConv1D
from keras_griffin.layers.token_embedding import TokenEmbedding

# A new unit is then a row of `units` alone.
from keras_griffin.layers.units import *  # noqa: F403

__all__ = [
    "BlockDiagonalDense",
    "DecayInitializer",
    "GatedMLP",
    "Mixer",
    "RMSNorm",
    "ResidualBlock",
    "SequenceLayer",
    "StateSpec",
    "TemporalConv1D",
    "TokenEmbedding",
    "Weight",
    "dense_weights",
    "project",
    "projection",
]
__all__ += units.__all__
__dir__ = __all__.copy
