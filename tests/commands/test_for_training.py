import keras
import pytest

from keras_griffin.backend import BACKENDS
from keras_griffin.commands.shared import training as for_training
from keras_griffin.commands.shared.errors import CommandError
from keras_griffin.commands.shared.training import prepare_training

pytestmark = pytest.mark.any_backend


@pytest.mark.trainable
@pytest.mark.parametrize("is_command_line", [True, False])
def test_a_training_command_retains_the_memory_of_its_own_process_alone(monkeypatch, is_command_line):
    calls = []
    monkeypatch.setattr(for_training, "is_command_line", lambda: is_command_line)
    monkeypatch.setattr(for_training, "retain_memory", lambda: calls.append("called"))
    prepare_training("train")
    assert len(calls) == is_command_line


def test_a_backend_without_gradients_is_refused(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "numpy")
    with pytest.raises(CommandError) as caught:
        prepare_training("compare")
    assert str(caught.value) == (
        f"compare: KERAS_BACKEND must be one of {', '.join(BACKENDS)}. Got numpy, which computes no gradients."
    )
