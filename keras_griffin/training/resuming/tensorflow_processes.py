"""Check that a run on TensorFlow has one process."""

import tensorflow as tf


def place() -> tuple[int, int]:
    """This process's index, and the number of processes.

    Raises:
        ValueError: the active strategy has several workers, each of which would train on the whole dataset.
    """
    resolver = tf.distribute.get_strategy().cluster_resolver
    workers = resolver.cluster_spec().as_dict().get("worker", []) if resolver else []
    if len(workers) > 1:
        raise ValueError(
            "ResumableRun: on TensorFlow a run must have one process; JAX and PyTorch support several. "
            f"Got a {type(tf.distribute.get_strategy()).__name__} of {len(workers)} workers."
        )
    return 0, 1
