"""Batches as a `tf.data.Dataset`."""

import keras
import tensorflow as tf


def to_tf_data(batches) -> tf.data.Dataset:
    """See `keras_griffin.training.to_tf_data`.

    Args:
        batches: a `Batches` or `StreamedBatches`.
    """
    signature = keras.tree.map_structure(lambda array: tf.TensorSpec(array.shape, array.dtype), batches.example)
    dataset = tf.data.Dataset.from_generator(lambda: batches.every(1), output_signature=signature)
    cardinality = tf.data.INFINITE_CARDINALITY if batches.epochs is None else batches.count
    if cardinality is not None:
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(cardinality))
    dataset = dataset.prefetch(tf.data.AUTOTUNE)
    # A model that reads its first batch before `fit` would consume it.
    dataset.is_read_once = batches.is_read_once
    return dataset
