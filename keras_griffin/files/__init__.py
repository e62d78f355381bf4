"""Atomic writing of files and folders, JSON objects, and the safetensors format, in NumPy alone."""

from keras_griffin.files.atomic import atomic_file, atomic_folder
from keras_griffin.files.json_object import read_json_object
from keras_griffin.files.safetensors import SafeTensors, StoredTensor, write_safetensors

__all__ = ["SafeTensors", "StoredTensor", "atomic_file", "atomic_folder", "read_json_object", "write_safetensors"]
__dir__ = __all__.copy
