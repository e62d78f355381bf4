"""Features of the backends for which Keras has no public API: one contract, which each backend's file fulfils.

    DTYPE_NAMES                         the names of dtypes that Keras is slow to name
    device_kind()                       `"cpu"`, `"gpu"` or `"tpu"`
    has_values(tensors)                 whether NumPy can read them: not while compiling or differentiating
    is_transformed()                    whether a transform is active that follows only the backend's own operations
    is_exported()                       whether the program of the operations is exported by PyTorch or TensorFlow
    has_strategy()                      whether Keras builds a model on the mean of several devices' batches
    without_gradients()                 a context in which no gradients are recorded
    before_first_step(model)            create the variables that would make the first step be traced twice
    sync_variables(model)               copy the values that the loop of `fit` holds back into the model's variables
    before_config_is_written()          import what must come before TensorFlow, which Keras imports for a config
    keep_programs(find_folder)          keep compiled programs for other processes, in the folder that the function
                                        returns, if any, unless the user has chosen one
    owned_copy(array, dtype)            a copy of an array in its own memory, rounded to a dtype
    int8_product(rows, matrix)          the int32 products of int8 rows and an int8 matrix, exact
    store_by_column(variable)           store a matrix so that `int8_product` reads it fastest; its values are the same
    places(variables)                   a tuple that differs for other variables, and for moved values if that matters
    compiled(function)                  the function, compiled if the backend would otherwise compile each operation
    has_threads()                       whether it computes in threads of its own, which a forked process lacks
    value_and_gradient(function, tensors)
                                        the value of `function(*tensors)` and its gradient for each tensor
    process()                           this process's index, and the number of processes that train one model
    gathered(array)                     the arrays of all these processes, `(P, ...)`
    sent(array, source)                 the array of process `source`; each passes one of its shape and dtype

Backend code of a single folder, such as an op's kernels, stays in that folder, also in files named after the backend.
"""

import os
import sys

import keras

WITH_GRADIENTS = ("jax", "tensorflow", "torch")
#: The names of modules whose import has finished.
_imported: set[str] = set()
#: Whether this process has computed.
_has_computed = False
#: The process that computed and from which this one was forked; 0 if there is none.
_forked_from = 0


def active():
    """The module of the active backend; a backend without its own file gets NumPy's: a CPU, without gradients."""
    backend = keras.backend.backend()
    return imported(f"keras_griffin.backends.{backend if has_gradients() else 'numpy'}_backend")


def has_gradients() -> bool:
    """Whether the active backend differentiates."""
    return keras.backend.backend() in WITH_GRADIENTS


def check_not_forked(function_name: str) -> None:
    """Refuse to compute in a process forked from one that did: it would wait forever for threads that it lacks."""
    global _has_computed
    if _forked_from and active().has_threads():
        raise RuntimeError(
            f"{function_name}: a process must not compute if it was forked from one that did, because it lacks the "
            f"threads of {keras.backend.backend()}; start it by multiprocessing's 'spawn'. "
            f"Got process {os.getpid()}, forked from {_forked_from}."
        )
    _has_computed = True


def _after_fork() -> None:
    """In the child: remember a parent that has computed."""
    global _forked_from
    _forked_from = os.getppid() if _has_computed else 0


# Windows does not fork. A look at the process's id in each call would stop Dynamo.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def imported(name: str):
    """The module of that dotted name, by code that AutoGraph and Dynamo can follow; they warn about `importlib`."""
    import_once(name)
    # As its package's attribute: of `sys.modules` Dynamo sees what was there before.
    package, _, own_name = name.rpartition(".")
    return getattr(sys.modules[package], own_name)


def import_once(name: str) -> None:
    """Import the module of that name, unless its import has finished."""
    # A module is in `sys.modules` from the start of its import: another thread could find it half initialised.
    if name not in _imported:
        __import__(name)
        _imported.add(name)


# The file of the backend prepares its compiler for `imported`.
active()
