"""A `fit` of TensorFlow's on two logical devices, beside one on a single device."""

import keras
import numpy as np
import pytest

from keras_griffin.training import AdamW, default_optimizer
from tests.distribution.processes import answers_of
from tests.distribution.tiny import losses, model, packed, windows

#: Rows of a batch that one of two replicas gets.
HALF = 4


def without_clipping():
    """By an `AdamW` with a schedule and with `drop_nonfinite`."""
    made = model()
    made.compile(default_optimizer(made, steps=4, clip_norm=None), made.loss)
    return made


def evenly_packed():
    """As `packed`, both halves of each batch with the same padding, so that no replica has more weight."""
    x, targets, weights = packed()
    of_first = [row // (2 * HALF) * (2 * HALF) + row % HALF for row in range(len(weights))]
    return {**x, "segment_ids": x["segment_ids"][of_first]}, targets, weights[of_first]


def packed_losses(logits, data):
    """By plain gradient descent, whose steps are as long as the gradients."""
    made = model()
    trained = made.packed(logits=logits)
    trained.compile(keras.optimizers.SGD(0.5), **({"loss": made.loss} if logits else {}))
    return losses(trained, data)


def mean_of_halves():
    """The loss of the first batch of `packed`, as the mean of those of each replica's rows."""
    x, targets, weights = packed()
    halves = [slice(start, start + HALF) for start in (0, HALF)]
    trained = model().packed(logits=False)
    parts = [
        trained.test_on_batch({name: ids[rows] for name, ids in x.items()}, targets[rows], weights[rows], True)["loss"]
        for rows in halves
    ]
    return float(np.mean(parts))


def first_batch(logits):
    """The loss of the first batch of `packed` as a strategy has it."""
    x, targets, weights = packed()
    rows = slice(2 * HALF)
    made = model().packed(logits=logits)
    inputs = {name: ids[rows] for name, ids in x.items()}
    return float(made.evaluate(inputs, targets[rows], 2 * HALF, 0, weights[rows], return_dict=True)["loss"])


def refusal(act):
    """The sentence with which something is refused, or None."""
    try:
        act()
    except (RuntimeError, ValueError) as error:
        return str(error)


def accumulated():
    made = model()
    made.compile(AdamW(global_clipnorm=None, gradient_accumulation_steps=2), made.loss)
    losses(made, windows())


def answers():
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])

    def fits(trained):
        return {
            "windows": losses(trained, windows()),
            "packed": packed_losses(True, evenly_packed()),
            "packed, no logits": packed_losses(False, evenly_packed()),
        }

    with strategy.scope():
        trained = without_clipping()
        found = {"mirrored": fits(trained), "replicas": strategy.num_replicas_in_sync}
        # In what is finite `drop_nonfinite` leaves no batch out.
        found["dropped"] = trained.optimizer.dropped
        found["unequal weights"] = [first_batch(logits) for logits in (True, False)]
        found["carried"] = refusal(lambda: model().carried(8))
        found["accumulated"] = refusal(accumulated)
    found["one device"] = fits(without_clipping())
    found["mean of halves"] = mean_of_halves()
    found["unequal weights, one device"] = first_batch(True)
    return found


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's strategies")
@pytest.mark.slow
def test_a_mirrored_strategy_of_tensorflow_trains_one_model():
    """In a process of its own, where the CPU is divided before TensorFlow begins."""
    (found,) = answers_of(answers, ())
    assert found["replicas"] == 2
    for name, expected in found["one device"].items():
        assert_same(found["mirrored"][name], expected)
        assert expected[1] < expected[0]
    # With unequal weights Keras, and we with it, take the mean of the replicas' means.
    assert_same(found["unequal weights"], [found["mean of halves"]] * 2)
    assert abs(found["mean of halves"] - found["unequal weights, one device"]) > 1e-4
    assert found["dropped"] == 0
    assert "must not be divided by a strategy of TensorFlow. Got one of 2 replicas." in found["carried"]
    # TensorFlow's own; the day that it works, docs/guides/scale.md is to say so.
    assert "merge_call" in found["accumulated"]


def assert_same(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5)
