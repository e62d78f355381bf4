import inspect
import re
import zipfile

import keras
import numpy as np
import pytest

from keras_griffin.layers import CGLRU, RGLRU, RGLRUCell
from keras_griffin.testing.arrays import as_array

KINDS = {"RGLRU": RGLRU, "CGLRU": CGLRU, "RGLRUCell": lambda **options: RGLRUCell(8, **options)}


class Subclass(CGLRU):
    def __init__(self, *, size=3, **kwargs):
        super().__init__(**kwargs)
        self.size = size


@pytest.mark.parametrize("name", KINDS)
def test_the_old_name_warns_once_where_it_is_used(name):
    with pytest.warns(DeprecationWarning) as warned:
        layer = KINDS[name](num_blocks=4)
    (warning,) = warned
    expected = f"{name}: num_blocks is now called num_gate_blocks; the old name will be removed in 0.2."
    assert (str(warning.message), warning.filename) == (expected, __file__)
    assert layer.num_gate_blocks == 4 and "num_blocks" not in layer.get_config()


@pytest.mark.parametrize("name", KINDS)
def test_both_names_are_refused(name):
    sentence = f"{name}: only one of num_gate_blocks and num_blocks, its old name, may be given. "
    with pytest.raises(ValueError, match=re.escape(f"{sentence}Got num_gate_blocks=2 and num_blocks=4.")):
        KINDS[name](num_gate_blocks=2, num_blocks=4)


def test_a_value_under_the_old_name_is_checked():
    with (
        pytest.raises(ValueError, match=r"CGLRU: num_gate_blocks must be an integer .* Got 0\."),
        pytest.warns(DeprecationWarning),
    ):
        CGLRU(num_blocks=0)


@pytest.mark.parametrize("kind", [RGLRU, CGLRU, Subclass])
def test_an_earlier_config(kind):
    config = kind(num_gate_blocks=2, name="unit").get_config()
    earlier = {{"num_gate_blocks": "num_blocks"}.get(name, name): value for name, value in config.items()}
    loaded = kind.from_config(earlier)
    assert type(loaded) is kind and loaded.get_config() == config
    assert "num_blocks" in earlier


@pytest.mark.parametrize("layer", [RGLRU(num_gate_blocks=2), keras.layers.RNN(RGLRUCell(8, num_gate_blocks=2))])
def test_an_earlier_file(layer, tmp_path):
    """A `.keras` file that differs from one of now by the name alone."""
    model = keras.Sequential([keras.Input((5, 8)), layer])
    model.save(tmp_path / "now.keras")
    with zipfile.ZipFile(tmp_path / "now.keras") as now, zipfile.ZipFile(tmp_path / "earlier.keras", "w") as earlier:
        for file in now.namelist():
            content = now.read(file)
            if file == "config.json":
                assert content.count(b'"num_gate_blocks": 2') == 1
                content = content.replace(b'"num_gate_blocks": 2', b'"num_blocks": 2')
            earlier.writestr(file, content)
    loaded = keras.saving.load_model(tmp_path / "earlier.keras")  # silently: a warning would be an error here
    for one, other in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    inputs = np.random.default_rng(0).normal(size=(2, 5, 8)).astype("float32")
    np.testing.assert_array_equal(as_array(loaded(inputs)), as_array(model(inputs)))


@pytest.mark.parametrize("kind", [RGLRU, CGLRU, RGLRUCell])
def test_the_signature_has_the_new_name_alone(kind):
    parameters = inspect.signature(kind).parameters
    assert "num_gate_blocks" in parameters and "num_blocks" not in parameters
