import math
from pathlib import Path

import pytest

from keras_griffin.layers.base.initialization import without_initialization
from keras_griffin.mixers import mixer_names
from keras_griffin.models import Griffin, GriffinConfig, presets
from keras_griffin.models.weight_shapes import check_num_layers, weight_shapes

pytestmark = pytest.mark.any_backend

PATTERN = mixer_names()
CONFIG = GriffinConfig(
    7, 12, len(PATTERN), 4, block_pattern=PATTERN, recurrence_width=24, num_gate_blocks=6, mlp_width=20
).replace(head_dim=8, num_key_value_heads=2, conv_kernel_size=3)


def test_they_are_those_of_a_model_that_is_built():
    """Each size differs from the others, so none can stand for another."""
    with without_initialization():
        model = Griffin(CONFIG)
    expected = {variable.path: tuple(variable.shape) for variable in model.weights}
    assert weight_shapes(CONFIG) == expected
    assert model.count_params() == CONFIG.parameter_count()


def test_more_layers_than_tensors_are_refused():
    check_num_layers("load", CONFIG, dict.fromkeys(range(CONFIG.num_layers)))
    with pytest.raises(ValueError, match=r"^load: each of the config's .* Got num_layers \d+ and 3 tensors\.$"):
        check_num_layers("load", CONFIG, dict.fromkeys("abc"))


def test_the_guide_counts_what_is_trained():
    shapes = weight_shapes(presets()["recurrentgemma_2b"])
    kernels = [shape for path, shape in shapes.items() if path.endswith("/kernel") and len(shape) == 2]
    # But for the convolutions of four taps.
    projections = [shape for shape in kernels if shape[0] > 4]
    text = Path(__file__).parents[2].joinpath("docs/guides/fine_tuning.md").read_text("utf-8")
    assert f"| full training in bfloat16 | {sum(map(math.prod, shapes.values())):,} |" in text
    assert f"| LoRA of rank 16 | {16 * sum(map(sum, projections)):,} |" in text
