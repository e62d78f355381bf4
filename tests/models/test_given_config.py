"""`GivenConfig` and `config_of`: what a model says if its sizes are not in a config."""

import copy
import pickle

import keras
import numpy as np
import pytest

from keras_griffin.models import Griffin, Hawk, LanguageModel, MQATransformer
from keras_griffin.testing.arrays import as_array
from keras_griffin.tokenizers import ByteTokenizer
from tests.models.tiny import TINY, strong

CONFIG = TINY.replace(vocabulary_size=256)
SIZES = "(GriffinConfig(vocabulary_size=256, width=64, num_layers=3, num_heads=2))"
TOKENS = np.arange(6).reshape(2, 3)


@pytest.fixture(scope="module")
def model():
    return strong(Hawk(CONFIG, tokenizer=ByteTokenizer(), name="hawk"))


@pytest.mark.any_backend
@pytest.mark.parametrize("family", [LanguageModel, Griffin, Hawk, MQATransformer])
@pytest.mark.parametrize(
    ("positional", "options", "got"),
    [
        ((256,), {}, ". Got 256."),
        ((256, 32, 3, 2), {}, ". Got 256, 32, 3, 2."),
        ((), {"vocabulary_size": 256, "width": 32}, ". Got vocabulary_size=256, width=32."),
        ((), {"dtype": "bfloat16"}, ". Got none."),
        ((CONFIG,), {"width": 64}, ". Got width=64."),
        ((CONFIG, 64), {}, ". Got 64."),
    ],
)
def test_sizes_outside_of_a_config_are_refused(family, positional, options, got):
    with pytest.raises(ValueError) as error:
        family(*positional, **options)
    name = family.__name__
    assert str(error.value) == f"{name}: the sizes must be in one config: {name}{SIZES}{got}"


@pytest.mark.any_backend
def test_names_of_presets_and_unknown_options_are_told_from_sizes():
    with pytest.raises(ValueError, match=r"or Griffin\.from_preset\('griffin_1b'\) for a preset. Got 'griffin_1b'.$"):
        Griffin("griffin_1b")
    # Keras would drop it.
    with pytest.raises(ValueError, match=r"^Hawk: an option must be one of dtype, .* Got droput=0\.1\.$"):
        Hawk(CONFIG, droput=0.1)
    assert not Griffin(CONFIG, trainable=False).trainable_variables


@pytest.mark.any_backend
@pytest.mark.parametrize(
    "options", [{}, {"clone_function": lambda layer: layer}, {"input_tensors": keras.Input((None,), dtype="int32")}]
)
def test_clone_model_is_refused(model, options):
    """It would make a plain functional model, without `generate`."""
    with pytest.raises(ValueError) as error:
        keras.models.clone_model(model, **options)
    assert str(error.value) == (
        "Hawk: a copy must be made by copy.deepcopy(model), or Hawk.from_config(model.get_config()) for fresh weights; "
        "keras.models.clone_model would lose the config. Got tensors."
    )


@pytest.mark.any_backend
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_is_whole(model, copied):
    copy = copied(model)
    assert type(copy) is Hawk and copy.config == model.config and copy is not model
    np.testing.assert_array_equal(as_array(copy(TOKENS)), as_array(model(TOKENS)))
    assert copy.generate("a", 2) == model.generate("a", 2)


@pytest.mark.any_backend
def test_from_config_gives_fresh_weights(model):
    fresh = Hawk.from_config(model.get_config())
    assert fresh.get_config() == model.get_config() and type(fresh.tokenizer) is ByteTokenizer
    assert np.abs(as_array(fresh(TOKENS)) - as_array(model(TOKENS))).max() > 0
