"""What the tests of the implementations of local attention share: arguments, marks, gradients."""

import numpy as np
from keras import ops

from keras_griffin.ops.local_attention import local_attention
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.gradients import value_and_gradient

BATCH, NUM_HEADS, CHANNELS = 3, 4, 4
#: Queries, keys, window, key heads; together they take every path of the portable implementation.
CASES = {
    "one step": (1, 1, 7, 2),
    "one block": (7, 7, 7, 2),
    "window longer than the sequence": (7, 7, 100, 1),
    "blocks": (65, 65, 7, 2),
    "window of one": (65, 65, 1, 4),
    "blocks after history": (65, 97, 40, 1),
    "newest of many keys": (1, 97, 7, 2),
    "blocks of a kernel": (150, 160, 140, 1),
}
MARKS = ["neither", "segments", "mask", "both"]


def arguments_of(case, dtype="float32", channels=CHANNELS):
    """Normal query, key and value, rounded to the dtype, and the weights of a sum of outputs."""
    length, span, _, num_key_heads = CASES[case]
    generator = np.random.default_rng(0)
    query_shape, key_shape = (BATCH, length, NUM_HEADS, channels), (BATCH, span, num_key_heads, channels)
    shapes = (query_shape, key_shape, key_shape, query_shape)
    *arrays, weights = (generator.normal(size=shape).astype("float32") for shape in shapes)
    return [as_array(ops.cast(2 * array, dtype)) for array in arrays], weights


def marks_of(which, case):
    """Segments in any order; masked steps first, last and in between, and one wholly masked row."""
    span = CASES[case][1]
    generator = np.random.default_rng(1)
    segment_ids, mask = generator.integers(0, 2, size=(BATCH, span)), generator.random((BATCH, span)) < 0.6
    mask[0, :2], mask[0, 2:6], mask[1, -2:], mask[2] = False, True, False, False
    return {
        "segment_ids": segment_ids.astype("int32") if which in ("segments", "both") else None,
        "mask": mask if which in ("mask", "both") else None,
    }


def gradients_of(arguments, weights, window, marks, dtype="float32"):
    """Of the sum of the outputs that have a weight; those without one may be NaN."""

    def loss(*tensors):
        outputs = ops.cast(local_attention(*(ops.cast(x, dtype) for x in tensors), window, **marks), "float32")
        return ops.sum(ops.where(weights != 0, outputs, 0) * ops.convert_to_tensor(weights))

    return value_and_gradient(loss, *arguments)[1]


def poisoned(arguments, unseen):
    return [np.where(unseen[:, -x.shape[1] :, None, None], np.nan, x).astype("float32") for x in arguments]


def unseen_of(case, mask):
    """Which steps are masked or among the last third."""
    span = CASES[case][1]
    return ~mask | (np.arange(span) >= 2 * span // 3)
