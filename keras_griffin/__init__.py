"""Griffin and Hawk for Keras 3."""

from keras_griffin.backend import check_backend, choose_backend
from keras_griffin.program import is_command_line, keep_tensorflow_quiet, use_default_sigint

use_default_sigint()
keep_tensorflow_quiet()
choose_backend()

# The command line parses its arguments before these slow imports.
if not is_command_line():
    check_backend()
    from keras_griffin import (
        conversion,
        distribution,
        export,
        generation,
        inspection,
        layers,
        mixers,
        models,
        ops,
        serving,
        tokenizers,
        training,
    )
    from keras_griffin.layers import RGLRU
    from keras_griffin.models import Griffin, GriffinConfig, Hawk, LanguageModel, MQATransformer, SequenceEncoder

__all__ = [
    "Griffin",
    "GriffinConfig",
    "Hawk",
    "LanguageModel",
    "MQATransformer",
    "RGLRU",
    "SequenceEncoder",
    "conversion",
    "distribution",
    "export",
    "generation",
    "inspection",
    "layers",
    "mixers",
    "models",
    "ops",
    "serving",
    "tokenizers",
    "training",
]
# As `dir` and tab completion call it: the public names alone.
__dir__ = __all__.copy
__version__ = "0.1.0"
