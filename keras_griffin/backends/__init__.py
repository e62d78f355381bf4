"""What Keras has no public name for, behind one contract that each backend's file gives whole.

    device_kind()                       `"cpu"`, `"gpu"` or `"tpu"`
    has_values(tensors)                 whether NumPy may read them: not while they are compiled or differentiated
    has_strategy()                      whether Keras shows a model the mean of several devices' batches while it builds
    without_gradients()                 a context in which nothing is kept for a gradient
    before_first_step(model)            make what a first step would make while it is traced, and be traced again for
    sync_variables(model)               put what the loop of `fit` holds back into the model's variables
    before_config_is_written()          load what must be loaded before Keras, writing a config, imports TensorFlow
    owned_copy(array, dtype)            an array in new memory of its own, rounded to a dtype
    compiled(function)                  the function, compiled where the backend would else compile each operation
    value_and_gradient(function, tensors)
                                        the value of `function(*tensors)` and its gradient for each tensor

What belongs to one folder alone, such as an op's kernels, stands there, in files named after their backend too.
"""

import sys

import keras

WITH_GRADIENTS = ("jax", "tensorflow", "torch")
#: The names of modules whose import has ended.
_imported: set[str] = set()


def active():
    """The module of the active backend; one without a file of its own is like NumPy's, a CPU with values alone."""
    backend = keras.backend.backend()
    name = f"{backend if backend in WITH_GRADIENTS else 'numpy'}_backend"
    return imported(f"keras_griffin.backends.{name}")


def imported(name: str):
    """The module of that name, in words that AutoGraph and Dynamo follow; `importlib` makes them warn."""
    # `sys.modules` has a module from the start of its import: another thread would find half of it there.
    if name not in _imported:
        __import__(name)
        _imported.add(name)
    return sys.modules[name]
