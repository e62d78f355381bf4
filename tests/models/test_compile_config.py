"""A saved model is compiled again on any backend, whichever wrote it."""

import json
import sys
import zipfile

import keras
import pytest

from keras_griffin.layers.initialization import without_initialization
from keras_griffin.models import Griffin, GriffinConfig
from keras_griffin.models.compile_config import compile_again, compile_config, without_backends
from keras_griffin.models.packed_model import PackedModel
from keras_griffin.testing.closeness import assert_close
from keras_griffin.training import AdamW

CONFIG = GriffinConfig(vocabulary_size=7, width=16, num_layers=1, num_heads=2, window=4)
#: Where Keras keeps the class of another backend. (That of JAX is none, so that importing it fails too.)
THEIRS = "jax" if keras.backend.backend() == "torch" else "torch"
THEIRS = f"keras.src.backend.{THEIRS}.optimizers.{THEIRS}_adam"


def compiled(optimizer):
    with without_initialization():
        model = Griffin(CONFIG)
    model.compile(optimizer, model.loss)
    return model


def adam():
    return keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-3, 10))


@pytest.mark.parametrize(
    "optimizer",
    [
        *("Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "Ftrl", "Lion", "Muon", "Nadam", "RMSprop"),
        *("SGD", "ScheduleFreeAdamW"),
    ],
)
def test_what_is_written_names_no_backend(optimizer):
    model = compiled(getattr(keras.optimizers, optimizer)(1e-3))
    config = model.get_compile_config()
    written = {name: config["optimizer"][name] for name in ("module", "class_name", "registered_name")}
    assert written == {"module": "keras.optimizers", "class_name": optimizer, "registered_name": None}
    assert config["jit_compile"] == "auto"


def test_neither_do_wrapped_optimizers_and_models_beside_a_model():
    model = compiled(keras.optimizers.LossScaleOptimizer(adam()))
    models = [model, model.packed(), model.carried(2), model.packed(logits=False)]
    for each in models:
        assert "keras.src.backend" not in json.dumps(keras.saving.serialize_keras_object(each))
    assert compiled(AdamW()).get_compile_config()["optimizer"]["registered_name"] == "keras_griffin>AdamW"


def test_what_was_chosen_is_kept():
    model = Griffin(CONFIG)
    chosen = not keras.Sequential().jit_compile
    model.compile("sgd", "mse", jit_compile=chosen)
    assert model.get_compile_config()["jit_compile"] is chosen


def test_a_model_that_is_not_compiled_is_saved_so(tmp_path):
    packed = Griffin(CONFIG).packed()
    bare = PackedModel(packed.inputs, packed.outputs)
    bare.save(tmp_path / "bare.keras")
    assert not keras.saving.load_model(tmp_path / "bare.keras").compiled


def test_a_model_to_evaluate_has_no_optimizer(tmp_path):
    model = Griffin(CONFIG)
    model.compile(None, model.loss)
    model.save(tmp_path / "model.keras")
    assert keras.saving.load_model(tmp_path / "model.keras").optimizer is None


@pytest.mark.parametrize("wraps", [False, True])
def test_a_file_that_names_another_backend_imports_none(tmp_path, wraps):
    """As Keras writes it on PyTorch."""
    model = compiled(keras.optimizers.LossScaleOptimizer(adam()) if wraps else adam())
    model.save(tmp_path / "model.keras")
    path = with_their_class(tmp_path)
    loaded = keras.saving.load_model(path)
    assert type(loaded.optimizer) is type(model.optimizer)
    inner = loaded.optimizer.inner_optimizer if wraps else loaded.optimizer
    assert type(inner) is type(adam())
    assert_close(inner.learning_rate, 1e-3)
    assert THEIRS not in sys.modules


def with_their_class(folder):
    """The file `model.keras` once more, with an optimizer as another backend would have named it."""
    with zipfile.ZipFile(folder / "model.keras") as archive, zipfile.ZipFile(folder / "theirs.keras", "w") as theirs:
        for name in archive.namelist():
            content = archive.read(name)
            if name == "config.json":
                before = json.dumps({"module": "keras.optimizers", "class_name": "Adam"})[1:-1].encode()
                after = json.dumps({"module": THEIRS, "class_name": "Adam"})[1:-1].encode()
                assert before in content
                content = content.replace(before, after)
            theirs.writestr(name, content)
    return folder / "theirs.keras"


def test_another_class_of_a_backend_is_refused():
    config = {"optimizer": {"module": "keras.src.backend.torch.layer", "class_name": "TorchLayer", "config": {}}}
    with pytest.raises(ValueError, match=r"^compile_from_config: .* Got keras\.src\.backend\.torch\.layer\.TorchLay"):
        compile_again(Griffin(CONFIG), config)


def test_all_else_stays():
    config = {"a": [1, (None, {"module": "keras.optimizers", "class_name": "Adam", "registered_name": None})], "b": 2.0}
    assert without_backends(config) == config
    assert compile_config(Griffin(CONFIG), {}) == {}
