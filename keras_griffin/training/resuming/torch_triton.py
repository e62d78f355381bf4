"""PyTorch's compiler, where it is installed, loaded before TensorFlow is.

Keras imports TensorFlow, where that is installed, to write anything as a config; what PyTorch's compiler imports later
would crash.
"""

import importlib.util

if importlib.util.find_spec("triton") is not None:
    import triton  # noqa: F401
