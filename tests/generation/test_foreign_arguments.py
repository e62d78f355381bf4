"""What users of Keras Hub and of transformers type."""

import inspect
import re

import pytest

from keras_griffin.generation import generate, stream
from keras_griffin.generation.foreign_arguments import EQUIVALENTS
from keras_griffin.models import Griffin, GriffinConfig, LanguageModel

pytestmark = pytest.mark.any_backend

MODEL = Griffin(GriffinConfig(vocabulary_size=7, width=8, num_layers=1, num_heads=1))


@pytest.mark.parametrize("name", EQUIVALENTS)
@pytest.mark.parametrize("method", ["generate", "stream"])
def test_an_argument_of_another_library_is_refused_with_its_name_here(method, name):
    sentence = f"{method}: {name} must be written as {EQUIVALENTS[name]}. Got {name}=3."
    with pytest.raises(TypeError, match=f"^{re.escape(sentence)}$"):
        getattr(MODEL, method)([[1, 2]], **{name: 3})


def test_what_nobody_takes_is_refused_by_python():
    with pytest.raises(TypeError, match="unexpected keyword argument 'beams'"):
        MODEL.generate([[1, 2]], 3, beams=4)


def test_the_names_here_are_not_those_of_others():
    for function in (generate, stream, LanguageModel.generate, LanguageModel.stream):
        assert not EQUIVALENTS.keys() & inspect.signature(function).parameters.keys()
        assert "max_new_tokens" in inspect.signature(function).parameters
