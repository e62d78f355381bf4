"""What is known before a call: the kind of device, here and as if on others, and whether tensors hold numbers."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.ops import linear_scan, local_attention, use_implementation
from keras_griffin.ops.implementation import current_facts
from keras_griffin.testing.gradients import value_and_gradient

BACKEND = keras.backend.backend()


def as_if_on(kind, monkeypatch):
    """Make the active backend believe that it computes on another device."""
    if BACKEND == "jax":
        import jax

        monkeypatch.setattr(jax, "default_backend", lambda: {"gpu": "cuda"}.get(kind, kind))
    elif BACKEND == "tensorflow":
        import tensorflow as tf

        monkeypatch.setattr(tf.config, "list_logical_devices", lambda asked: ["one"] if asked.lower() == kind else [])
    elif BACKEND == "torch":
        import torch

        tensor = torch.zeros((), device="meta" if kind == "gpu" else kind)
        monkeypatch.setattr(keras.ops, "zeros", lambda shape: tensor)


def test_the_device_of_this_machine():
    kind = "cpu" if BACKEND == "numpy" else str(keras.ops.zeros(()).device).lower()
    assert current_facts(None, "float32").device == ("cpu" if "cpu" in kind else "tpu" if "tpu" in kind else "gpu")


@pytest.mark.parametrize("kind", {"numpy": ["cpu"], "torch": ["cpu", "gpu"]}.get(BACKEND, ["cpu", "gpu", "tpu"]))
def test_other_devices(kind, monkeypatch):
    as_if_on(kind, monkeypatch)
    assert current_facts(None, "float32").device == kind


NUMBERS = np.random.default_rng(0).uniform(0.1, 0.9, (1, 4, 2)).astype("float32")
USES = {
    "linear_scan": lambda x: linear_scan(x, x)[0],
    "local_attention": lambda x: local_attention(x[:, :, None], x[:, :, None], x[:, :, None], 2),
}


@pytest.mark.parametrize("name", USES)
def test_the_reference_computes_where_there_are_values(name):
    with use_implementation(name, "reference"):
        USES[name](ops.convert_to_tensor(NUMBERS))


@pytest.mark.trainable
@pytest.mark.parametrize("name", USES)
def test_the_reference_refuses_to_be_compiled_or_differentiated(name):
    def loss(x):
        return ops.sum(USES[name](x))

    with use_implementation(name, "reference"):
        with pytest.raises(ValueError, match=rf"{name}: .* 'reference' .* It can't be compiled or differentiated;"):
            value_and_gradient(loss, NUMBERS)
