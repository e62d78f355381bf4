import pytest

from keras_griffin.conversion import load_recurrentgemma
from keras_griffin.conversion.checkpoint_preset import CHECKPOINT, load_as_preset
from keras_griffin.models import Griffin
from keras_griffin.models.saving.preset_files import FORMATS

pytestmark = pytest.mark.any_backend


def test_from_preset_loads_what_load_recurrentgemma_loads(huggingface_folder):
    assert CHECKPOINT in FORMATS and CHECKPOINT.load is load_as_preset
    expected = load_recurrentgemma(huggingface_folder).config
    for path in (huggingface_folder, str(huggingface_folder), huggingface_folder / "model.safetensors"):
        model = Griffin.from_preset(path, dtype="bfloat16", name="gemma", window=3)
        assert (model.config, model.name, model.dtype_policy.name) == (expected.replace(window=3), "gemma", "bfloat16")
