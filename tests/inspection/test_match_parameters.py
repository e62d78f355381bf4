import pytest

from keras_griffin.inspection.match_parameters import match_parameters
from keras_griffin.mixers import mixer_names
from keras_griffin.models import GriffinConfig

pytestmark = pytest.mark.any_backend

GRIFFIN = GriffinConfig(vocabulary_size=256, width=128, num_layers=4, num_heads=2)


@pytest.mark.parametrize("name", mixer_names())
@pytest.mark.parametrize("count", [800_000, GRIFFIN.parameter_count(), 12_345_678])
def test_every_mixer_matches_and_no_other_width_is_nearer(name, count):
    config = GRIFFIN.replace(block_pattern=(name,))
    matched = match_parameters(config, count)
    assert abs(matched.parameter_count() - count) <= 0.01 * count
    for width in (matched.mlp_width - 1, matched.mlp_width + 1):
        other = config.replace(mlp_width=width).parameter_count()
        assert abs(other - count) >= abs(matched.parameter_count() - count)


LEAST = GRIFFIN.replace(mlp_width=1).parameter_count()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (GRIFFIN, LEAST + 100, 1e-4),
            "count must be within 0.01 % of what an mlp_width of at least 1 gives. "
            f"Got {LEAST + 100:,}, and the nearest is {LEAST:,}, with an mlp_width of 1.",
        ),
        (
            (GRIFFIN, 10_000, 0.01),
            "count must be within 1 % of what an mlp_width of at least 1 gives. "
            f"Got 10,000, and the nearest is {LEAST:,}, with an mlp_width of 1.",
        ),
        ((GRIFFIN, 0, 0.01), "count must be an integer of at least 1. Got 0."),
        (("griffin", 1, 0.01), "config must be a GriffinConfig. Got 'griffin'."),
        ((GRIFFIN, 10**6, -1), "tolerance must be a finite number of at least 0. Got -1."),
    ],
)
def test_wrong_arguments(arguments, message):
    config, count, tolerance = arguments
    with pytest.raises(ValueError) as error:
        match_parameters(config, count, tolerance=tolerance)
    assert str(error.value) == f"match_parameters: {message}"
