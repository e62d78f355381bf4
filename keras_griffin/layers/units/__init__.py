"""Recurrent units: recurrences that can stand where `keras.layers.LSTM` stood, one to a file.

Each is a `RecurrentUnit`: its class declares which weights and which state it will have. Each is on a scan of
`keras_griffin.ops`, so all steps run at once in training, and takes resets and masks anywhere. By its name in `UNITS`
it is also the recurrence of a `RecurrentBlock` or a `UnitBlock`, and a mixer of a model's pattern.
"""

from keras_griffin.layers.units.cg_lru import CGLRU
from keras_griffin.layers.units.gilr import GILR
from keras_griffin.layers.units.lru import LRU
from keras_griffin.layers.units.ls_lstm import LSLSTM
from keras_griffin.layers.units.min_gru import MinGRU
from keras_griffin.layers.units.min_lstm import MinLSTM
from keras_griffin.layers.units.qrnn import QRNN
from keras_griffin.layers.units.recurrent_unit import RecurrentUnit, RecurrentUnitState
from keras_griffin.layers.units.rg_lru import RGLRU
from keras_griffin.layers.units.rg_lru_cell import RGLRUCell
from keras_griffin.layers.units.selective_ssm import SelectiveSSM
from keras_griffin.layers.units.state_space.s4 import S4
from keras_griffin.layers.units.state_space.s4d import S4D
from keras_griffin.layers.units.state_space.s5 import S5

UNITS: dict[str, type[RecurrentUnit]] = {
    "rg_lru": RGLRU,
    "cg_lru": CGLRU,
    "qrnn": QRNN,
    "gilr": GILR,
    "ls_lstm": LSLSTM,
    "min_gru": MinGRU,
    "min_lstm": MinLSTM,
    "lru": LRU,
    "s4": S4,
    "s4d": S4D,
    "s5": S5,
    "selective_ssm": SelectiveSSM,
}
"""The recurrent units by the default names of their layers."""

__all__ = [
    "UNITS",
    "CGLRU",
    "GILR",
    "LRU",
    "LSLSTM",
    "MinGRU",
    "MinLSTM",
    "QRNN",
    "RGLRU",
    "RGLRUCell",
    "RecurrentUnit",
    "RecurrentUnitState",
    "S4",
    "S4D",
    "S5",
    "SelectiveSSM",
]
__dir__ = __all__.copy
