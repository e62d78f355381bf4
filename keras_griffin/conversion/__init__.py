"""Weights from other implementations, and for them."""

from keras_griffin.conversion.recurrentgemma import load_recurrentgemma

__all__ = ["load_recurrentgemma"]
