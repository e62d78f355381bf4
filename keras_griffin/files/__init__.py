"""Atomic writing of files and folders, JSON objects, and safetensors files."""

from keras_griffin.files.atomic import atomic_file

__all__ = ["atomic_file"]
__dir__ = __all__.copy
