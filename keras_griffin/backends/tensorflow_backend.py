"""TensorFlow. The contract stands in the package."""

import tensorflow as tf

from keras_griffin.backends.numpy_backend import (  # noqa: F401
    before_config_is_written,
    compiled,
    owned_copy,
    sync_variables,
    without_gradients,
)


def device_kind() -> str:
    """That of the best device there is."""
    for kind in ("TPU", "GPU"):
        if tf.config.list_logical_devices(kind):
            return kind.lower()
    return "cpu"


def has_values(tensors) -> bool:
    """False while a graph is made. A tape outside of any graph can't be seen."""
    return tf.executing_eagerly()


def has_strategy() -> bool:
    """Whether one of `tf.distribute` is in force."""
    return tf.distribute.has_strategy()


def before_first_step(model) -> None:
    """The optimizer's variables: a function that makes variables is traced a second time."""
    optimizer = getattr(model, "optimizer", None)
    if model.built and optimizer is not None and not optimizer.built:
        with model.distribute_strategy.scope():
            optimizer.build(model.trainable_variables)


def value_and_gradient(function, tensors):
    """Traced as a graph."""

    @tf.function
    def traced(*tensors):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = function(*tensors)
        return value, tape.gradient(value, tensors, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    return traced(*tensors)
