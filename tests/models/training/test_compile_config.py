"""A saved model is compiled again on any backend, whichever wrote it."""

import functools
import json
import sys
import zipfile

import keras
import numpy as np
import pytest

from keras_griffin.models import Griffin
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from tests.models.tiny import TINY

CONFIG = TINY.replace(vocabulary_size=7, num_layers=1)
#: Where Keras keeps the class of another backend. (That of JAX is none, so that importing it fails too.)
THEIRS = "jax" if keras.backend.backend() == "torch" else "torch"
THEIRS = f"keras.src.backend.{THEIRS}.optimizers.{THEIRS}_adam"


@pytest.fixture(scope="module")
def models():
    model = Griffin(CONFIG)
    return model, model.packed(), model.carried(2)


@pytest.fixture
def model(models):
    return models[0]


def adam():
    return keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-3, 10))


@pytest.mark.parametrize(
    "optimizer",
    [
        *("Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "Ftrl", "Lion", "Muon", "Nadam", "RMSprop"),
        *("SGD", "ScheduleFreeAdamW"),
    ],
)
def test_what_is_written_names_no_backend(model, optimizer):
    model.compile(getattr(keras.optimizers, optimizer)(1e-3))
    config = model.get_compile_config()
    written = {name: config["optimizer"][name] for name in ("module", "class_name", "registered_name")}
    assert written == {"module": "keras.optimizers", "class_name": optimizer, "registered_name": None}
    assert config["jit_compile"] == "auto"


@pytest.mark.any_backend
def test_what_was_chosen_is_kept(model):
    chosen = not keras.Sequential().jit_compile
    model.compile("sgd", jit_compile=chosen)
    assert model.get_compile_config()["jit_compile"] is chosen


@pytest.mark.any_backend
@pytest.mark.parametrize("wraps", [False, True])
def test_a_file_that_names_another_backend_imports_none(model, tmp_path, wraps):
    """As Keras writes it on PyTorch."""
    model.compile(keras.optimizers.LossScaleOptimizer(adam()) if wraps else adam())
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


@pytest.mark.any_backend
def test_another_class_of_a_backend_is_refused(model):
    config = {"module": "keras.src.backend.torch.layer", "class_name": "TorchLayer", "config": {}}
    config = {"optimizer": {**config, "built": False}}
    with pytest.raises(ValueError, match=r"^compile_from_config: .* Got keras\.src\.backend\.torch\.layer\.TorchLay"):
        model.compile_from_config(config)


OF_PROBABILITIES = {
    "a name": "sparse_categorical_crossentropy",
    "of one-hot targets": "categorical_crossentropy",
    "a class's name": "SparseCategoricalCrossentropy",
    "an object": keras.losses.SparseCategoricalCrossentropy(),
    "a function": keras.losses.sparse_categorical_crossentropy,
    "a class": keras.losses.CategoricalCrossentropy,
    "of two distributions": "kld",
    "an object of two": keras.losses.KLDivergence(),
    "bound": functools.partial(keras.losses.sparse_categorical_crossentropy, ignore_class=-1),
}
NESTED = {"alone": lambda loss: loss, "a list": lambda loss: [loss], "a dict": lambda loss: {"token_embedding": loss}}
RULE = "the loss must read logits, which are this model's outputs: leave it out to keep model.loss, or use one with "


@pytest.mark.any_backend
@pytest.mark.parametrize("given", OF_PROBABILITIES)
@pytest.mark.parametrize("nested", NESTED)
def test_a_loss_of_probabilities_is_refused(models, given, nested):
    """It would train, on the logarithms of clipped logits."""
    loss = OF_PROBABILITIES[given]
    for model in models:
        optimizer = model.optimizer
        with pytest.raises(ValueError) as error:
            model.compile("adam", NESTED[nested](loss))
        assert str(error.value) == f"compile: {RULE}from_logits=True. Got {loss!r}."
        assert model.optimizer is optimizer


@pytest.mark.any_backend
@pytest.mark.parametrize(
    "loss",
    [
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        keras.losses.CategoricalFocalCrossentropy(from_logits=True),
        functools.partial(keras.losses.sparse_categorical_crossentropy, from_logits=True),
        "mse",
        lambda targets, logits: keras.ops.mean(logits),
    ],
)
def test_others_are_taken(model, loss):
    model.compile("adam", loss, metrics=[keras.metrics.SparseCategoricalCrossentropy(from_logits=True), "acc"])
    assert model.loss is loss


@pytest.mark.trainable
def test_without_a_loss_a_model_keeps_its_own(tmp_path):
    """And accuracy is the share of targets that have the largest logit."""
    model = Griffin(CONFIG)
    tokens = np.arange(12).reshape(2, 6) % 7
    targets = as_array(model(tokens)).argmax(-1)
    targets[0, :3] += 1
    default = model.loss
    model.compile("sgd", metrics=["accuracy"])
    assert model.loss is default
    assert model.evaluate(tokens, targets % 7, verbose=0, return_dict=True)["accuracy"] == pytest.approx(0.75)
    packed = model.packed()
    packed.compile("sgd")
    packed.save(tmp_path / "packed.keras")
    assert isinstance(keras.saving.load_model(tmp_path / "packed.keras").loss, type(default))


@pytest.mark.any_backend
def test_a_file_of_an_earlier_version_is_loaded_with_a_warning(tmp_path):
    """`compile` took such a loss once."""
    model = Griffin(CONFIG)
    keras.Model.compile(model, "sgd", "sparse_categorical_crossentropy")
    model.save(tmp_path / "model.keras")
    with pytest.warns(UserWarning, match=f"^compile_from_config: {RULE}.* Got 'sparse_.*'. Compile the model again.$"):
        loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.loss == "sparse_categorical_crossentropy"
