"""SavedModel and LiteRT's `.tflite`, by TensorFlow."""

import contextlib
import logging
from pathlib import Path

import tensorflow as tf
from tensorflow.lite.python.convert import ConverterError

from keras_griffin.backends.tensorflow_backend import exporting
from keras_griffin.export.program import Program

FAILURES = (tf.errors.OpError, ConverterError)
#: That of TensorFlow Serving.
SIGNATURE = "serving_default"


def _module(program: Program) -> tf.Module:
    """The program as `serve`, beside the variables that it reads."""
    specs = [
        tf.TensorSpec([size if isinstance(size, int) else None for size in port.shape], port.dtype, name=port.name)
        for port in program.ports
    ]

    def serve(*tensors):
        return dict(zip(program.results, program.function(*tensors), strict=True))

    module = tf.Module()
    module.variables_read = [variable.value for variable in program.model.variables]
    module.serve = tf.function(serve, input_signature=specs, autograph=False)
    return module


def write_saved_model(program: Program, path: Path, facts: dict) -> None:
    """Fill a folder for TensorFlow Serving and `tf.saved_model.load`, whose `serve` takes the inputs in order.

    Nothing in it needs XLA, which TensorFlow Serving uses on a CPU only if it is told to.
    """
    module = _module(program)
    with _quiet(), exporting():
        tf.saved_model.save(module, path, signatures={SIGNATURE: module.serve})


def write_tflite(program: Program, path: Path, facts: dict) -> None:
    """Write a file of LiteRT's built-in operations alone, since its Python package has no TensorFlow's."""
    module = _module(program)
    with _quiet(), exporting():
        function = module.serve.get_concrete_function()
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function], module)
        path.write_bytes(converter.convert())


@contextlib.contextmanager
def _quiet():
    """Without TensorFlow's remarks on names with dots."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
