import pytest

from keras_griffin.commands.kernels import chosen_kernels
from keras_griffin.models import GriffinConfig

CONFIG = GriffinConfig(vocabulary_size=256, width=32, num_layers=3, num_heads=2)


@pytest.mark.parametrize(
    ("pattern", "ops"),
    [
        (("recurrent", "recurrent", "local_mqa"), ["linear_scan", "local_attention"]),
        (("recurrent",), ["linear_scan"]),
        (("global_mqa",), []),
    ],
)
def test_the_kernels_are_those_of_the_mixers_in_use(pattern, ops):
    assert list(chosen_kernels(CONFIG.replace(block_pattern=pattern), 4, 16)) == ops


def test_the_reference_generates_and_does_not_train(monkeypatch):
    monkeypatch.setenv("KERAS_GRIFFIN_LINEAR_SCAN", "reference")
    assert chosen_kernels(CONFIG, 4, 16)["linear_scan"] == "reference"
    with pytest.raises(ValueError, match=r"It can't be compiled or differentiated; the call has "):
        chosen_kernels(CONFIG, 4, 16, training=True)
