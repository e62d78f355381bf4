"""TensorFlow. The contract is in the package's docstring."""

import contextlib
import contextvars

import tensorflow as tf

from keras_griffin.backends.numpy_backend import (  # noqa: F401
    DTYPE_NAMES,
    before_config_is_written,
    compiled,
    gathered,
    int8_product,
    is_transformed,
    # With a damaged file in XLA's persistent cache, TensorFlow fails instead of compiling.
    keep_programs,
    owned_copy,
    places,
    sent,
    store_by_column,
    sync_variables,
    without_gradients,
)

#: Whether `value_and_gradient` is calling its function.
_records = contextvars.ContextVar("_records", default=False)
#: Whether a program is being traced for other runtimes.
_exports = contextvars.ContextVar("_exports", default=False)


def device_kind() -> str:
    """The kind of the best device available."""
    for kind in ("TPU", "GPU"):
        if tf.config.list_logical_devices(kind):
            return kind.lower()
    return "cpu"


def has_threads() -> bool:
    """Those of its runtime."""
    return True


def has_values(tensors) -> bool:
    """False while a graph is built, and in `value_and_gradient`; another tape outside a graph can't be detected."""
    return tf.executing_eagerly() and not _records.get()


def is_exported() -> bool:
    """Inside `exporting`."""
    return _exports.get()


@contextlib.contextmanager
def exporting():
    """Let programs that are traced inside the block be read by runtimes without XLA."""
    before = _exports.set(True)
    try:
        yield
    finally:
        _exports.reset(before)


def has_strategy() -> bool:
    """Whether a strategy of `tf.distribute` is active."""
    return tf.distribute.has_strategy()


def before_first_step(model) -> None:
    """Create the optimizer's variables: a function that creates variables is traced twice."""
    optimizer = getattr(model, "optimizer", None)
    if model.built and optimizer is not None and not optimizer.built:
        with model.distribute_strategy.scope():
            optimizer.build(model.trainable_variables)


def value_and_gradient(function, tensors):
    """Not traced as a graph: that takes longer than one call, in which each scan is compiled by itself."""
    before = _records.set(True)
    try:
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = function(*tensors)
    finally:
        _records.reset(before)
    return value, tape.gradient(value, tensors, unconnected_gradients=tf.UnconnectedGradients.ZERO)


def process() -> tuple[int, int]:
    """The only one."""
    # Each worker of a strategy would train on the whole dataset.
    resolver = tf.distribute.get_strategy().cluster_resolver
    workers = resolver.cluster_spec().as_dict().get("worker", []) if resolver else []
    if len(workers) > 1:
        raise ValueError(
            "ResumableRun: on TensorFlow a run must have one process; JAX and PyTorch support several. "
            f"Got a {type(tf.distribute.get_strategy()).__name__} of {len(workers)} workers."
        )
    return 0, 1
