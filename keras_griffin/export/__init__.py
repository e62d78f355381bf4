"""Models for other runtimes, with their states."""

from keras_griffin.export.write import FORMATS, export

__all__ = ["FORMATS", "export"]
