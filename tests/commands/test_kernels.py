import keras
import numpy as np
import pytest

from keras_griffin.commands.explain import requests, tell_unused, training_kernels, unused
from keras_griffin.commands.shared.errors import CommandError
from keras_griffin.models import Griffin, GriffinConfig
from keras_griffin.ops.implementation import Choice, current_facts, recorded_choices

CONFIG = GriffinConfig(vocabulary_size=256, width=16, num_layers=2, num_heads=2, window=4)
#: `train` has these kernels, and refuses to run on NumPy, whose `rg_lru` calls `linear_scan`.
trainable = pytest.mark.trainable
#: A dense layer of float32 is Keras's own elsewhere.
DENSE = ["row_product"] if keras.backend.backend() == "torch" else []


@trainable
def test_what_is_traced_is_what_trains():
    model = Griffin(CONFIG.replace(block_pattern=("recurrent", "local_mqa")))
    kernels = training_kernels(model, 2, 8)
    assert list(kernels) == [*DENSE, "block_product", "rg_lru", "local_attention"]
    token_ids = np.zeros((2, 8), "int32")
    model.compile("sgd", loss=model.loss)
    if keras.backend.backend() == "torch":
        # At the first batch Keras infers shapes, on the device "meta", for which others are chosen.
        model.train_on_batch(token_ids, token_ids)
    with recorded_choices() as choices:
        model.train_on_batch(token_ids, token_ids)
    assert {choice.op_name: choice.implementation for choice in choices} == kernels


@trainable
def test_the_op_that_was_asked_for_is_the_op_that_runs(monkeypatch):
    """`rg_lru` has loops of its own, which `linear_scan` does not choose; written in Keras, it calls that op."""
    model = Griffin(CONFIG.replace(block_pattern=("recurrent",), num_layers=1))
    monkeypatch.setenv("KERAS_GRIFFIN_LINEAR_SCAN", "portable")
    kernels = training_kernels(model, 2, 8)
    called = ", ".join([*DENSE, "block_product", "rg_lru"])
    assert unused(requests(), kernels) == f"KERAS_GRIFFIN_LINEAR_SCAN=portable: the model calls only {called}"
    monkeypatch.setenv("KERAS_GRIFFIN_RG_LRU", "portable")
    kernels = training_kernels(model, 2, 8)
    assert (kernels["rg_lru"], kernels["linear_scan"]) == ("portable", "portable")
    assert unused(requests(), kernels) is None


@pytest.mark.parametrize(
    ("variable", "sentence"),
    [
        ("KERAS_GRIFFIN_ROW_PRODUCT", "^row_product: an implementation must be one of .* Got 'magic'.$"),
        ("KERAS_GRIFFIN_LINEARSCAN", r"; did you mean 'KERAS_GRIFFIN_LINEAR_SCAN'\?$"),
        (
            "KERAS_GRIFFIN_SCAN",
            "^KERAS_GRIFFIN_SCAN: a variable that selects .* must be one of KERAS_GRIFFIN_BLOCK_PRODUCT, .*"
            "KERAS_GRIFFIN_SELECTIVE_SCAN. Got 'KERAS_GRIFFIN_SCAN'; did you mean ",
        ),
    ],
)
def test_what_asks_for_nothing_there_is_refused(monkeypatch, variable, sentence):
    monkeypatch.setenv(variable, "magic")
    with pytest.raises(CommandError, match=sentence):
        requests()
    monkeypatch.setenv(variable, "")
    assert requests() == {}


def test_what_was_asked_for_in_vain_is_told(capsys):
    facts = current_facts(None, "float32")
    choices = [Choice("rg_lru", "portable", facts)]
    tell_unused({"rg_lru": "A=b"}, choices)
    assert capsys.readouterr().err == ""
    tell_unused({"rg_lru": "A=b", "row_product": "C=d"}, choices)
    tell_unused({"row_product": "C=d"}, [])
    assert capsys.readouterr() == (
        "",
        "Not used: C=d: the model calls only rg_lru.\nNot used: C=d: the model calls no such op.\n",
    )
