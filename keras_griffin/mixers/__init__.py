"""Interchangeable layers that move information along time.

Each is a `keras_griffin.layers.Mixer`: the class declares, for given constructor arguments, which weights and which
state it will have. `GriffinConfig.mixer_arguments(name)` returns those arguments.
"""

from typing import Any

from keras_griffin.layers import UNITS, Mixer
from keras_griffin.mixers.aft import AFT
from keras_griffin.mixers.gate_loop import GateLoop
from keras_griffin.mixers.global_mqa import GlobalMQA
from keras_griffin.mixers.h3 import H3
from keras_griffin.mixers.hyena import Hyena
from keras_griffin.mixers.local_mqa import LocalMQA
from keras_griffin.mixers.mamba import Mamba
from keras_griffin.mixers.matrix_state.gated_delta_net import GatedDeltaNet
from keras_griffin.mixers.matrix_state.gated_linear_attention import GatedLinearAttention
from keras_griffin.mixers.matrix_state.linear_attention import LinearAttention
from keras_griffin.mixers.matrix_state.mamba2 import Mamba2
from keras_griffin.mixers.matrix_state.mlstm import MLSTM
from keras_griffin.mixers.matrix_state.retention import Retention
from keras_griffin.mixers.recurrent_block import RecurrentBlock
from keras_griffin.mixers.rwkv4 import RWKV4, RWKV4Channel
from keras_griffin.mixers.sparse_mqa import SparseMQA
from keras_griffin.mixers.unit_block import UnitBlock
from keras_griffin.names import did_you_mean

MIXERS: dict[str, type[Mixer]] = {
    "recurrent": RecurrentBlock,
    "local_mqa": LocalMQA,
    "global_mqa": GlobalMQA,
    "sparse_mqa": SparseMQA,
    "mamba": Mamba,
    "h3": H3,
    "hyena": Hyena,
    "mamba2": Mamba2,
    "mlstm": MLSTM,
    "aft": AFT,
    "rwkv4": RWKV4,
    "rwkv4_channel": RWKV4Channel,
    "gated_delta_net": GatedDeltaNet,
    "linear_attention": LinearAttention,
    "retention": Retention,
    "gate_loop": GateLoop,
    "gated_linear_attention": GatedLinearAttention,
}
"""The mixers by their names in `GriffinConfig.block_pattern`, beside the units' names; see `find_mixer`."""


def find_mixer(name: str) -> tuple[type[Mixer], dict[str, Any]]:
    """The mixer for a name in a pattern, and the arguments it implies; a unit's name means a `UnitBlock`."""
    if name in MIXERS:
        return MIXERS[name], {}
    if name in UNITS:
        return UnitBlock, {"unit": name}
    names = mixer_names()
    raise ValueError(f"find_mixer: a mixer must be one of {', '.join(names)}. Got {name!r}{did_you_mean(name, names)}")


def mixer_names() -> tuple[str, ...]:
    """All names that `find_mixer` takes."""
    return *MIXERS, *UNITS


__all__ = [
    "AFT",
    "H3",
    "MIXERS",
    "GatedDeltaNet",
    "GateLoop",
    "GatedLinearAttention",
    "MLSTM",
    "GlobalMQA",
    "LinearAttention",
    "Hyena",
    "LocalMQA",
    "Mamba",
    "Mamba2",
    "RWKV4",
    "RWKV4Channel",
    "RecurrentBlock",
    "Retention",
    "SparseMQA",
    "UnitBlock",
]
__dir__ = __all__.copy
