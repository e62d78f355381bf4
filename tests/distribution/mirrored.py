"""What `test_many_processes.py` runs on TensorFlow: a `fit` on two logical devices, beside one on a single device."""

import json

import tensorflow as tf

from keras_griffin.training import AdamW
from tests.distribution.tiny import losses, model, windows


def without_clipping():
    made = model()
    made.compile(AdamW(global_clipnorm=None), made.loss)
    return made


def main():
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])
    with strategy.scope():
        mirrored = without_clipping()
        answers = {"mirrored": losses(mirrored, windows()), "replicas": strategy.num_replicas_in_sync}
    answers["one device"] = losses(without_clipping(), windows())
    print("ANSWERS" + json.dumps(answers))


if __name__ == "__main__":
    main()
