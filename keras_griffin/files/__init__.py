"""Files that are whole at every moment, and the safetensors format, in NumPy alone."""

from keras_griffin.files.safetensors import SafeTensors, StoredTensor, write_safetensors
from keras_griffin.files.whole import whole_file, whole_folder

__all__ = ["SafeTensors", "StoredTensor", "whole_file", "whole_folder", "write_safetensors"]
