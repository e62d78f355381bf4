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


def batch(start, stop):
    x, targets, weights = packed()
    return {name: ids[start:stop] for name, ids in x.items()}, targets[start:stop], weights[start:stop]


def mean_of_halves():
    """The loss of the first batch of `packed`, as the mean of those of each replica's rows."""
    trained = model().packed(logits=False)
    return np.mean([trained.test_on_batch(*batch(at, at + HALF), return_dict=True)["loss"] for at in (0, HALF)])


def first_batch(logits):
    """The loss of the first batch of `packed` as a strategy has it."""
    inputs, targets, weights = batch(0, 2 * HALF)
    made = model().packed(logits=logits)
    return made.evaluate(inputs, targets, 2 * HALF, 0, weights, return_dict=True)["loss"]


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


def check_two_replicas():
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])

    def fits(trained):
        yield losses(trained, windows())
        yield from (packed_losses(logits, evenly_packed()) for logits in (True, False))

    with strategy.scope():
        assert strategy.num_replicas_in_sync == 2
        trained = without_clipping()
        mirrored = list(fits(trained))
        # In what is finite `drop_nonfinite` leaves no batch out.
        assert trained.optimizer.dropped == 0
        unequal = [first_batch(logits) for logits in (True, False)]
        sentence = "must not be divided by a strategy of TensorFlow. Got one of 2 replicas."
        assert sentence in refusal(lambda: model().carried(8))
        # TensorFlow's own; the day that it works, docs/guides/scale.md is to say so.
        assert "merge_call" in refusal(accumulated)
    for found, expected in zip(mirrored, fits(without_clipping()), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
        assert expected[1] < expected[0]
    # With unequal weights Keras, and we with it, take the mean of the replicas' means.
    np.testing.assert_allclose(unequal, mean_of_halves(), rtol=0, atol=1e-5)
    assert abs(mean_of_halves() - first_batch(True)) > 1e-4


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's strategies")
@pytest.mark.slow
def test_a_mirrored_strategy_of_tensorflow_trains_one_model():
    """In a process of its own, where the CPU is divided before TensorFlow begins."""
    answers_of(check_two_replicas, ())
