"""Adapters go to a file and come back, on every backend, and only beside the base that they were trained with."""

import keras
import numpy as np
import pytest

from keras_griffin.files.safetensors import SafeTensors, write_safetensors
from keras_griffin.models import Griffin
from keras_griffin.models.saving.adapter_files import fingerprint, load_adapter, save_adapter
from keras_griffin.models.saving.weights import as_array
from keras_griffin.testing.closeness import assert_close
from tests.models.tiny import TINY, adapted

CONFIG = TINY.replace(num_gate_blocks=2)
TOKENS = np.random.default_rng(0).integers(0, 13, (2, 8)).astype("int32")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with the preset of a base and the adapters of a model, and the model."""
    base, folder = Griffin(CONFIG), tmp_path_factory.mktemp("saved")
    base.save_to_preset(folder / "preset")
    save_adapter(adapted(base, alpha=3, targets=["up", "mixer/output_projection"]), folder / "adapter.safetensors")
    return folder, base


def test_adapters_come_back_beside_their_base(saved):
    folder, model = saved
    other = Griffin.from_preset(folder / "preset")
    load_adapter(other, folder / "adapter.safetensors")
    assert (other.lora.rank, other.lora.alpha, other.lora.targets) == (2, 3.0, ("up", "mixer/output_projection"))
    np.testing.assert_array_equal(
        as_array(other.lora.layers[0].lora_kernel_b), as_array(model.lora.layers[0].lora_kernel_b)
    )
    expected = as_array(model(TOKENS))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(other(TOKENS)), expected)
    other.merge_lora()
    assert_close(other(TOKENS), expected)
    assert sorted(SafeTensors(folder / "adapter.safetensors")) == sorted(model.lora.variables)


@pytest.mark.any_backend
def test_a_base_is_known_again_in_another_dtype(saved):
    folder, model = saved
    half = Griffin.from_preset(folder / "preset", dtype="bfloat16")
    assert fingerprint(half) == fingerprint(model)
    half.load_adapter(folder / "adapter.safetensors")
    assert len(half.lora.layers) == 4


@pytest.mark.any_backend
def test_another_base_is_refused_unless_it_is_asked_for(saved):
    folder, model = saved
    other = Griffin.from_preset(folder / "preset")
    scale = other.final_norm.scale
    scale.assign(1.01 + as_array(scale))
    match = r"^load_adapter: the base must be the one .* Got a model [0-9a-f]{8} and '.*' of [0-9a-f]{8}\.$"
    with pytest.raises(ValueError, match=match):
        other.load_adapter(folder / "adapter.safetensors")
    assert other.lora is None
    other.load_adapter(folder / "adapter.safetensors", verify=False)
    assert other.lora.rank == 2
    for config in (CONFIG.replace(width=32, recurrence_width=22), CONFIG.replace(num_layers=1)):
        with pytest.raises(ValueError, match=r"^load_adapter: the tensors must be exactly those of the .* Got .*\.$"):
            Griffin(config).load_adapter(folder / "adapter.safetensors", verify=False)


@pytest.mark.trainable  # Keras's NumPy backend warns of what its int8 layers need for gradients
@pytest.mark.slow
def test_adapters_of_a_quantised_base_go_to_the_model_before(tmp_path):
    model = Griffin(CONFIG.replace(num_layers=1))
    model.save_to_preset(tmp_path / "preset")
    model.quantize("int4")
    model = adapted(model)
    model.save_adapter(tmp_path / "adapter.safetensors")
    whole = Griffin.from_preset(tmp_path / "preset")
    with pytest.raises(ValueError, match=r"^load_adapter: the base must be the one"):
        whole.load_adapter(tmp_path / "adapter.safetensors")
    whole.load_adapter(tmp_path / "adapter.safetensors", verify=False)
    # What four bits leave of the kernels.
    assert_close(whole(TOKENS), as_array(model(TOKENS)), "bfloat16", factor=30)
    whole.merge_lora()


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("changes", "ours"),
    [
        ({"rank": 4}, "rank 4, alpha 3.0, layers 4"),
        ({"alpha": 2}, "rank 2, alpha 2.0, layers 4"),
        ({"targets": ["up"]}, "rank 2, alpha 3.0, layers 2"),
        ({"targets": ["up", "down"]}, "rank 2, alpha 3.0, layers 4"),
    ],
)
def test_adapters_of_another_kind_are_refused(saved, changes, ours):
    folder, _ = saved
    other = Griffin.from_preset(folder / "preset")
    other.enable_lora(**{"rank": 2, "alpha": 3, "targets": ["up", "mixer/output_projection"], **changes})
    match = r"^load_adapter: a model's adapters must have the file's rank, .* Got {} and '.*' of rank 2, alpha 3.0, la"
    with pytest.raises(ValueError, match=match.format(ours)):
        other.load_adapter(folder / "adapter.safetensors")


def rewrite(folder, change=lambda arrays: arrays, **metadata):
    """The adapters as `other.safetensors`, of version 1, which has no checksum."""
    file = SafeTensors(folder / "adapter.safetensors")
    metadata = {**file.metadata, "format_version": "1", **metadata}
    metadata.pop("sum")
    write_safetensors(folder / "other.safetensors", change(dict(file)), metadata)


@pytest.mark.any_backend
def test_a_file_of_the_first_version_is_read(saved):
    folder, model = saved
    rewrite(folder)
    other = Griffin.from_preset(folder / "preset")
    other.load_adapter(folder / "other.safetensors")
    for name, variable in model.lora.variables.items():
        np.testing.assert_array_equal(as_array(other.lora.variables[name]), as_array(variable))


@pytest.mark.any_backend
def test_a_damaged_file_leaves_the_model_as_it_was(saved):
    folder, _ = saved
    other, path = Griffin.from_preset(folder / "preset"), folder / "adapter.safetensors"
    whole = path.read_bytes()
    for old, new in ((whole[-4:], b"\0\0\0A"), (b'"alpha":"3.0"', b'"alpha":"4.0"'), (b'"sum"', b'"sun"')):
        assert whole.count(old) == 1
        path.write_bytes(whole.replace(old, new))
        with pytest.raises(ValueError, match=r"^load_adapter: the file must be undamaged\. Got '.*', whose checksum"):
            other.load_adapter(path)
    path.write_bytes(whole)
    rewrite(folder, lambda arrays: {name: array * np.float32("nan") for name, array in arrays.items()})
    with pytest.raises(ValueError, match=r"^load_adapter: the adapters must be finite .* Got NaN or infinity in "):
        other.load_adapter(folder / "other.safetensors")
    rewrite(folder, rank=str(2**40))
    with pytest.raises(ValueError, match=r"^load_adapter: the tensors must be exactly those of the model\. Got block_"):
        other.load_adapter(folder / "other.safetensors")
    assert other.lora is None and fingerprint(other) == SafeTensors(path).metadata["base"]


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"format": "keras_griffin"},
            r"be written by save_adapter, in format keras_griffin_adapter 2\. Got '.*' of format keras",
        ),
        ({"format_version": "3"}, r"be written by save_adapter, .* Got '.*' of format keras_griffin_adapter 3"),
        ({"rank": "0"}, r"state its rank, alpha and targets\. Got rank 0, alpha 3\.0, targets .* in '.*'"),
        ({"rank": "eight"}, r"state its rank, alpha and targets\. Got rank eight, "),
        ({"alpha": "NaN"}, r"state its rank, alpha and targets\. Got rank 2, alpha NaN, "),
        ({"targets": '"up"'}, r"state its rank, alpha and targets\. Got rank 2, alpha 3\.0, targets \"up\" in "),
    ],
)
def test_a_file_that_is_no_adapter_is_refused(saved, changes, sentence):
    folder, model = saved
    rewrite(folder, **changes)
    with pytest.raises(ValueError, match=rf"^load_adapter: the file must {sentence}"):
        model.load_adapter(folder / "other.safetensors")
