"""Batches as a `tf.data.Dataset`."""

import keras
import tensorflow as tf


def to_tf_data(batches) -> tf.data.Dataset:
    """See `keras_griffin.training.to_tf_data`.

    Args:
        batches: a `Batches`.
    """
    signature = keras.tree.map_structure(lambda array: tf.TensorSpec(array.shape, array.dtype), batches[0])

    def generate():
        yield from map(batches.__getitem__, range(len(batches)))

    dataset = tf.data.Dataset.from_generator(generate, output_signature=signature)
    cardinality = tf.data.INFINITE_CARDINALITY if batches.epochs is None else len(batches)
    return dataset.apply(tf.data.experimental.assert_cardinality(cardinality)).prefetch(tf.data.AUTOTUNE)
