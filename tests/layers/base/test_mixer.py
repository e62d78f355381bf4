"""What mixers of an expanded width share."""

import inspect

import numpy as np
import pytest

from keras_griffin.layers.base.mixer import ExpandedMixer
from keras_griffin.mixers import MIXERS
from keras_griffin.models import GriffinConfig, LanguageModel
from keras_griffin.shapes import ExpandedMixerOptions
from tests.layers.units.definitions import named

pytestmark = pytest.mark.any_backend
EXPANDED = [name for name, mixer in MIXERS.items() if issubclass(mixer, ExpandedMixer)]


def test_the_options_are_the_arguments():
    arguments = set(inspect.signature(ExpandedMixer).parameters) - {"kwargs"}
    assert arguments == {*ExpandedMixerOptions.__annotations__} - {"name", "trainable", "dtype"}


@pytest.mark.parametrize("name", EXPANDED)
@pytest.mark.parametrize(("mlp_width", "branches"), [(0, 8), (4, 16)])
def test_the_last_kernel_is_smaller_the_more_residual_branches_there_are(name, mlp_width, branches):
    config = GriffinConfig(7, 32, 8, 2, mlp_width=mlp_width, block_pattern=(name,))
    kernel = np.abs(named(LanguageModel(config).blocks[1].mixer)["block_1/mixer/output_projection/kernel"])
    limit = (64 * branches) ** -0.5
    assert 0.98 * limit < kernel.max() <= limit
