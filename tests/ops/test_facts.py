"""The kind of the device on which the active backend computes, on this machine and as if on others."""

import keras
import pytest

from keras_griffin.ops.implementation import current_facts

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
