"""The ops with weights: layers that every model shares."""

from keras_griffin.layers.block_diagonal_dense import BlockDiagonalDense
from keras_griffin.layers.both_directions import BothDirections
from keras_griffin.layers.cg_lru import CGLRU
from keras_griffin.layers.decay_initializer import DecayInitializer
from keras_griffin.layers.gated_mlp import GatedMLP
from keras_griffin.layers.mixer import Kept, Mixer, Weight
from keras_griffin.layers.projection import project, projection
from keras_griffin.layers.recurrent_unit import RecurrentUnitState
from keras_griffin.layers.residual_block import ResidualBlock
from keras_griffin.layers.rg_lru import RGLRU
from keras_griffin.layers.rg_lru_cell import RGLRUCell
from keras_griffin.layers.rms_norm import RMSNorm
from keras_griffin.layers.sequence_layer import Decays, SequenceLayer
from keras_griffin.layers.temporal_conv import TemporalConv1D, TemporalConvState
from keras_griffin.layers.token_embedding import TokenEmbedding

UNITS = {"rg_lru": RGLRU, "cg_lru": CGLRU}
"""The recurrences whose outputs have their inputs' width, by the default names of their layers."""

__all__ = [
    "UNITS",
    "BlockDiagonalDense",
    "BothDirections",
    "CGLRU",
    "Decays",
    "DecayInitializer",
    "GatedMLP",
    "Kept",
    "Mixer",
    "RGLRU",
    "RGLRUCell",
    "RMSNorm",
    "RecurrentUnitState",
    "ResidualBlock",
    "SequenceLayer",
    "TemporalConv1D",
    "TemporalConvState",
    "TokenEmbedding",
    "Weight",
    "project",
    "projection",
]
