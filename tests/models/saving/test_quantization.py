"""A preset of few bits decodes what the model in memory decodes."""

import json

import keras
import numpy as np
import pytest

from keras_griffin.files.safetensors import SafeTensors, write_safetensors
from keras_griffin.layers.projection import kernel_of
from keras_griffin.models import Griffin
from keras_griffin.models.saving.checksums import CHECKSUMS
from keras_griffin.models.saving.quantization import MODES, SCALE, check_quantized_tensors
from keras_griffin.models.saving.weights import as_array
from keras_griffin.models.weight_shapes import weight_shapes
from tests.models.tiny import TINY

# Keras's NumPy backend warns of what its quantised layers need for gradients.
pytestmark = pytest.mark.trainable

# Odd blocks, of which int4 packs two numbers in a byte.
CONFIG = TINY.replace(num_layers=1, num_gate_blocks=3, recurrence_width=27)
TOKENS = np.random.default_rng(0).integers(0, 13, (2, 8)).astype("int32")


@pytest.fixture(scope="module", params=MODES)
def saved(request, tmp_path_factory):
    """A model of few bits and its preset."""
    model = Griffin(CONFIG)
    model.quantize(request.param)
    folder = tmp_path_factory.mktemp("presets") / request.param
    model.save_to_preset(folder)
    return model, folder


def changed(folder, tmp_path, config=None, **tensors):
    """The preset without checksums, with another config or other tensors."""
    file, content = SafeTensors(folder / "model.safetensors"), json.loads((folder / "config.json").read_text())
    content.pop("checksums")
    write_safetensors(tmp_path / "model.safetensors", {**file, **tensors})
    (tmp_path / "config.json").write_text(json.dumps({**content, "config": {**content["config"], **(config or {})}}))
    return tmp_path


def test_a_quantised_model_is_trained_by_adapters_alone(saved):
    """Without them, Keras would train its biases and norms, and nobody would know."""
    loaded = Griffin.from_preset(saved[1])
    for model in (loaded, loaded.packed()):
        match = rf"^fit: a quantised model must have adapters, .* '{loaded.quantized_to}' "
        with pytest.raises(ValueError, match=match):
            model.fit(TOKENS, TOKENS)


@pytest.mark.parametrize("saved", ["int8"], indirect=True)
def test_a_preset_that_is_int8_in_its_file_alone(saved, tmp_path):
    _, folder = saved
    content = json.loads((folder / "config.json").read_text())
    content.pop("checksums")
    (tmp_path / "config.json").write_text(json.dumps({**content, "dequantize": True}))
    tensors = dict(SafeTensors(folder / "model.safetensors"))
    write_safetensors(tmp_path / "model.safetensors", tensors)
    plain = Griffin.from_preset(tmp_path, verify=False)
    assert plain.quantized_to is None and plain.count_params() == CONFIG.parameter_count()
    for weight in plain.weights:
        stored, scale = tensors[weight.path], tensors.get(weight.path + SCALE, 1)
        np.testing.assert_array_equal(as_array(weight), stored.astype("float32") / scale)
    name = "block_0/mlp/up/kernel"
    for wrong, received in ((tensors[name + SCALE][1:], r"\(47,\)"), (None, "None")):
        others = {key: array for key, array in {**tensors, name + SCALE: wrong}.items() if array is not None}
        write_safetensors(tmp_path / "model.safetensors", others)
        with pytest.raises(ValueError, match=rf"an int8 tensor must have a scale .* {name} \(16, 48\) and {received}"):
            Griffin.from_preset(tmp_path, verify=False)


@pytest.mark.slow
def test_a_preset_decodes_what_the_model_decodes(saved, tmp_path):
    model, folder = saved
    loaded = Griffin.from_preset(folder)
    assert loaded.quantized_to == model.quantized_to == json.loads((folder / "config.json").read_text())["quantized_to"]
    for ours, theirs in zip(loaded.weights, model.weights, strict=True):
        assert (ours.path, ours.dtype) == (theirs.path, theirs.dtype)
        np.testing.assert_array_equal(as_array(ours), as_array(theirs))
    if keras.backend.backend() == "torch" and model.quantized_to == "int8":
        strides = [kernel_of(each.blocks[0].mlp.up).value.stride() for each in (model, loaded)]
        assert strides == [(1, CONFIG.width)] * 2, "stored by column"
    np.testing.assert_array_equal(as_array(loaded(TOKENS)), as_array(model(TOKENS)))
    np.testing.assert_array_equal(loaded.generate(TOKENS[:1, :3], 4), model.generate(TOKENS[:1, :3], 4))
    loaded.save_to_preset(tmp_path / "again")
    for name in ("model.safetensors", "config.json", CHECKSUMS):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(as_array(again(TOKENS)), as_array(model(TOKENS)))
    smaller = (folder / "model.safetensors").stat().st_size
    Griffin(CONFIG).save_to_preset(tmp_path / "whole")
    assert smaller < (tmp_path / "whole" / "model.safetensors").stat().st_size


def test_kernels_are_checked(saved, tmp_path):
    _, folder = saved
    name = "block_0/mlp/up/kernel"
    kernel = SafeTensors(folder / "model.safetensors")[name]
    path = changed(folder, tmp_path, **{name: kernel.astype("float32")})
    with pytest.raises(ValueError, match=rf"^from_preset: the tensors must be .* Got {name} of .*\.$"):
        Griffin.from_preset(path, verify=False)
    path = changed(folder, tmp_path, **{name: np.ascontiguousarray(kernel.T)})
    with pytest.raises(ValueError, match=rf"^from_preset: .* Got {name} of shape \(\d+, 16\), which should be \(16, "):
        Griffin.from_preset(path, verify=False)


def test_a_config_that_asks_for_more_than_the_file_holds_is_refused_first(saved, tmp_path, monkeypatch):
    def building(*_, **__):
        raise AssertionError("A model is built.")

    _, folder = saved
    monkeypatch.setattr(Griffin, "__init__", building)
    with pytest.raises(ValueError, match="^from_preset: .* Got block_0/mlp/gate/kernel of shape .* int8, which should"):
        Griffin.from_preset(changed(folder, tmp_path, {"mlp_width": 2**30}), verify=False)
    shapes, file = weight_shapes(CONFIG), SafeTensors(folder / "model.safetensors")
    tensors = {name: file.stored(name) for name in file}
    check_quantized_tensors("f", shapes, tensors)
    tensors.pop("final_norm/scale")
    with pytest.raises(ValueError, match=r"^f: the tensors must be those of the .* Got no final_norm/scale, \(16,\)"):
        check_quantized_tensors("f", shapes, tensors)
