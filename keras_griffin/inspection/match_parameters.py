"""Models of different mixers with the same number of parameters."""

import dataclasses

from keras_griffin.checks import COUNT, NOT_NEGATIVE, checked
from keras_griffin.inspection.decode_cost import check_config
from keras_griffin.models import GriffinConfig


def match_parameters(config: GriffinConfig, count: int, *, tolerance: float = 0.01) -> GriffinConfig:
    """A copy of a config whose `mlp_width` gives a model about `count` parameters, so that mixers compare fairly.

    The width is that of the nearest count, embedding included. `tolerance` limits the difference, as a share of it.

    Examples:
        >>> from keras_griffin.inspection.match_parameters import match_parameters
        >>> from keras_griffin.models import GriffinConfig
        >>> griffin = GriffinConfig(vocabulary_size=256, width=128, num_layers=4, num_heads=2)
        >>> hawk = match_parameters(griffin.replace(block_pattern=("recurrent",)), griffin.parameter_count())
        >>> griffin.mlp_width, hawk.mlp_width, griffin.parameter_count(), hawk.parameter_count()
        (384, 368, 896640, 896000)
    """
    owner = "match_parameters"
    check_config(owner, config)
    count, tolerance = checked(owner, COUNT, count=count), checked(owner, NOT_NEGATIVE, tolerance=tolerance)
    first = dataclasses.replace(config, mlp_width=1)
    each = dataclasses.replace(config, mlp_width=2).parameter_count() - first.parameter_count()
    # The nearest integer, without a float's rounding.
    more = (count - first.parameter_count() + each // 2) // each
    nearest = dataclasses.replace(config, mlp_width=1 + max(0, more))
    got = nearest.parameter_count()
    if abs(got - count) > tolerance * count:
        raise ValueError(
            f"{owner}: count must be within {100 * tolerance:g} % of what an mlp_width of at least 1 gives. "
            f"Got {count:,}, and the nearest is {got:,}, with an mlp_width of {nearest.mlp_width}."
        )
    return nearest
