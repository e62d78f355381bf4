"""Inspect a model: its size and decoding cost, and its memory while it reads a text."""

from keras_griffin.inspection.attention_map import attention_map
from keras_griffin.inspection.decode_cost import cache_bytes, decode_cost
from keras_griffin.inspection.decode_measurement import measure_decoding
from keras_griffin.inspection.decode_table import decode_table
from keras_griffin.inspection.devices import Device
from keras_griffin.inspection.influence import influence
from keras_griffin.inspection.plots import (
    plot_attention,
    plot_decode_cost,
    plot_gate,
    plot_gate_behaviour,
    plot_half_lives,
    plot_influence,
    plot_state_norm,
)

__all__ = [
    "Device",
    "attention_map",
    "cache_bytes",
    "decode_cost",
    "decode_table",
    "influence",
    "measure_decoding",
    "plot_attention",
    "plot_decode_cost",
    "plot_gate",
    "plot_gate_behaviour",
    "plot_half_lives",
    "plot_influence",
    "plot_state_norm",
]
__dir__ = __all__.copy
