"""What a model costs, and what it does, without running it in earnest."""

from keras_griffin.inspection.decode_cost import DecodeCost, cache_bytes, decode_cost
from keras_griffin.inspection.decode_table import cache_table, decode_table
from keras_griffin.inspection.devices import DEVICES, Device

__all__ = [
    "DEVICES",
    "DecodeCost",
    "Device",
    "cache_bytes",
    "cache_table",
    "decode_cost",
    "decode_table",
]
