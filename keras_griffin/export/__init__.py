"""Models for other runtimes, with their states."""

from keras_griffin.export.write import FORMATS, export

__all__ = ["FORMATS", "export"]
# As `dir` and tab completion call it: the public names alone.
__dir__ = __all__.copy
