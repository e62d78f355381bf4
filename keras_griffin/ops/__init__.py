"""Mathematics: pure functions of tensors, no weights."""

from keras_griffin.ops.bounded_sqrt import bounded_sqrt
from keras_griffin.ops.causal_conv import causal_conv
from keras_griffin.ops.delta_rule import delta_rule
from keras_griffin.ops.gated_linear_attention import gated_linear_attention
from keras_griffin.ops.global_attention import global_attention
from keras_griffin.ops.implementation import explain, use_implementation
from keras_griffin.ops.linear_cross_entropy import linear_cross_entropy
from keras_griffin.ops.linear_scan import linear_scan
from keras_griffin.ops.local_attention import local_attention
from keras_griffin.ops.log_scan import log_scan
from keras_griffin.ops.rg_lru import rg_lru
from keras_griffin.ops.selective_scan import selective_scan
from keras_griffin.ops.sparse_attention import sparse_attention
from keras_griffin.ops.state_space import state_space

__all__ = [
    "bounded_sqrt",
    "causal_conv",
    "delta_rule",
    "explain",
    "gated_linear_attention",
    "global_attention",
    "linear_cross_entropy",
    "linear_scan",
    "local_attention",
    "log_scan",
    "rg_lru",
    "selective_scan",
    "state_space",
    "sparse_attention",
    "use_implementation",
]
__dir__ = __all__.copy
