import sys
from unittest.mock import Mock

import pytest

from keras_griffin.models import Griffin, GriffinConfig
from keras_griffin.models.saving.hub import download
from keras_griffin.models.saving.preset_files import save_to_preset
from keras_griffin.models.saving.weights import as_array

pytestmark = pytest.mark.any_backend

CONFIG = GriffinConfig(vocabulary_size=7, width=16, num_layers=1, num_heads=2, window=4)
ADDRESS = "hf://owner/name"


@pytest.fixture
def download_of_the_hub(monkeypatch):
    """What stands in the place of the Hub's `snapshot_download`."""
    hub = Mock()
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    return hub.snapshot_download


def test_a_preset_on_the_hub(tmp_path, download_of_the_hub):
    model = Griffin(CONFIG)
    save_to_preset(model, tmp_path / "preset")
    download_of_the_hub.return_value = str(tmp_path / "preset")
    loaded = Griffin.from_preset(ADDRESS, window=2)
    assert loaded.config == CONFIG.replace(window=2)
    assert as_array(loaded.weights[0]).tobytes() == as_array(model.weights[0]).tobytes()
    patterns = ["*.safetensors", "*.json", "tokenizer.model"]
    download_of_the_hub.assert_called_once_with("owner/name", allow_patterns=patterns)


def test_weights_of_pytorch_where_there_are_no_others(tmp_path, download_of_the_hub):
    download_of_the_hub.return_value = str(tmp_path)
    assert download(ADDRESS) == tmp_path
    asked = [call.kwargs["allow_patterns"][3:] for call in download_of_the_hub.call_args_list]
    assert asked == [[], ["pytorch_model*.bin"]]


@pytest.mark.parametrize("error", [OSError("No network.\nAnd so on."), ValueError("No such name."), ConnectionError()])
def test_what_cannot_be_had_is_said_in_a_sentence(download_of_the_hub, error):
    download_of_the_hub.side_effect = error
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
