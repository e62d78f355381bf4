"""Load weights from other implementations, and save weights for them."""

from keras_griffin.conversion.checkpoint_preset import CHECKPOINT
from keras_griffin.conversion.huggingface import save_huggingface
from keras_griffin.conversion.mamba import load_mamba, load_mamba2
from keras_griffin.conversion.recurrentgemma import load_recurrentgemma
from keras_griffin.conversion.rwkv import load_rwkv
from keras_griffin.models.saving.preset_files import FORMATS

__all__ = ["load_mamba", "load_mamba2", "load_recurrentgemma", "load_rwkv", "save_huggingface"]
__dir__ = __all__.copy

# `from_preset` is in a lower layer and can't import this package.
FORMATS.append(CHECKPOINT)
