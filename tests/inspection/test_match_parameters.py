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


def test_widths_that_are_too_coarse_for_a_tolerance():
    least = GRIFFIN.replace(mlp_width=1).parameter_count()
    with pytest.raises(ValueError) as error:
        match_parameters(GRIFFIN, least + 100, tolerance=1e-4)
    assert str(error.value) == (
        "match_parameters: count must be within 0.01 % of what an mlp_width of at least 1 gives. "
        f"Got {least + 100:,}, and the nearest is {least:,}, with an mlp_width of 1."
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (GRIFFIN, 10_000),
            "match_parameters: count must be within 1 % of what an mlp_width of at least 1 gives. "
            f"Got 10,000, and the nearest is {GRIFFIN.replace(mlp_width=1).parameter_count():,}, "
            "with an mlp_width of 1.",
        ),
        ((GRIFFIN, 0), "match_parameters: count must be an integer of at least 1. Got 0."),
        ((GRIFFIN, 1e6), "match_parameters: count must be an integer of at least 1. Got 1000000.0."),
        (("griffin", 1), "match_parameters: config must be a GriffinConfig. Got 'griffin'."),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError) as error:
        match_parameters(*arguments)
    assert str(error.value) == message


def test_a_wrong_tolerance():
    with pytest.raises(ValueError) as error:
        match_parameters(GRIFFIN, 10**6, tolerance=-1)
    assert str(error.value) == "match_parameters: tolerance must be a finite number of at least 0. Got -1."
