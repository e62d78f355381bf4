"""That a run of TensorFlow is of one process."""

import tensorflow as tf


def place() -> tuple[int, int]:
    """This process's index, and how many there are.

    Raises:
        ValueError: the active strategy is of several workers, each of which would train on all of a dataset.
    """
    resolver = tf.distribute.get_strategy().cluster_resolver
    workers = resolver.cluster_spec().as_dict().get("worker", []) if resolver else []
    if len(workers) > 1:
        raise ValueError(
            "ResumableRun: on TensorFlow a run must be of one process; JAX and PyTorch have runs of several. "
            f"Got a {type(tf.distribute.get_strategy()).__name__} of {len(workers)} workers."
        )
    return 0, 1
