import sys
import types

import pytest

from keras_griffin.models import Griffin, GriffinConfig
from keras_griffin.models.saving.hub import download
from keras_griffin.models.saving.preset_files import save_to_preset
from keras_griffin.models.saving.weights import as_array

pytestmark = pytest.mark.any_backend

CONFIG = GriffinConfig(vocabulary_size=7, width=16, num_layers=1, num_heads=2, window=4)
ADDRESS = "hf://owner/name"


@pytest.fixture
def answer_with(monkeypatch):
    """Put a function in the place of the Hub's download."""

    def install(snapshot_download):
        module = types.SimpleNamespace(snapshot_download=snapshot_download)
        monkeypatch.setitem(sys.modules, "huggingface_hub", module)

    return install


def test_a_preset_on_the_hub(tmp_path, answer_with):
    model, asked = Griffin(CONFIG), []
    save_to_preset(model, tmp_path / "preset")

    def snapshot_download(repository, allow_patterns):
        asked.append((repository, allow_patterns))
        return str(tmp_path / "preset")

    answer_with(snapshot_download)
    loaded = Griffin.from_preset(ADDRESS, window=2)
    assert loaded.config == CONFIG.replace(window=2)
    assert as_array(loaded.weights[0]).tobytes() == as_array(model.weights[0]).tobytes()
    assert asked == [("owner/name", ["*.safetensors", "*.json", "tokenizer.model"])]


def test_weights_of_pytorch_where_there_are_no_others(tmp_path, answer_with):
    asked = []

    def snapshot_download(repository, allow_patterns):
        asked.append(allow_patterns)
        return str(tmp_path)

    answer_with(snapshot_download)
    assert download(ADDRESS) == tmp_path
    assert [patterns[3:] for patterns in asked] == [[], ["pytorch_model*.bin"]]


@pytest.mark.parametrize("error", [OSError("No network.\nAnd so on."), ValueError("No such name."), ConnectionError()])
def test_what_cannot_be_had_is_said_in_a_sentence(answer_with, error):
    def snapshot_download(repository, allow_patterns):
        raise error

    answer_with(snapshot_download)
    with pytest.raises(OSError) as caught:
        download(ADDRESS)
    reason = str(error).splitlines()[0] if str(error) else "ConnectionError"
    assert str(caught.value).startswith("from_preset: the repository could not be downloaded; ")
    assert str(caught.value).endswith(f"give the folder of a local copy instead. Got 'hf://owner/name': {reason}")


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"pip install 'keras-griffin\[hub\]'\. Got 'hf://owner/name'\."):
        Griffin.from_preset(ADDRESS)


@pytest.mark.parametrize(
    "address",
    ["hf://name", "hf://", "hf://a/b/c", "hf:///name", "hf://owner/", "hf://a b/c", "hf://../..", "hf://a/b#c"],
)
def test_what_is_no_address_is_refused(address):
    with pytest.raises(ValueError, match=rf"^from_preset: an address .* must be hf://owner/name\. Got '{address}'\.$"):
        Griffin.from_preset(address)
