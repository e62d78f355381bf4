"""Interchangeable layers that move information along time.

Each is a `keras_griffin.layers.Mixer`: the class declares, for given constructor arguments, which weights and which
state it will have. `GriffinConfig.mixer_arguments(name)` returns those arguments.
"""

from typing import Any

from keras_griffin.layers import UNITS, Mixer
from keras_griffin.mixers.aft import AFT
from keras_griffin.mixers.global_mqa import GlobalMQA
from keras_griffin.mixers.local_mqa import LocalMQA
from keras_griffin.mixers.mamba import Mamba
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
    "aft": AFT,
    "rwkv4": RWKV4,
    "rwkv4_channel": RWKV4Channel,
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
    "MIXERS",
    "GlobalMQA",
    "LocalMQA",
    "Mamba",
    "RWKV4",
    "RWKV4Channel",
    "RecurrentBlock",
    "SparseMQA",
    "UnitBlock",
]
__dir__ = __all__.copy
