"""Adapters against NumPy, merged kernels and one another."""

import functools

import keras
import numpy as np
import pytest

from keras_griffin.layers.projection import kernel_of, project, projection
from keras_griffin.models import Griffin
from keras_griffin.models.lora import (
    Lora,
    check_no_lora,
    check_undivided,
    enable_lora,
    lora_of,
    merge_lora,
    target_layers,
)
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from tests.models.tiny import TINY, adapted

RNG = np.random.default_rng(0)
CONFIG = TINY.replace(num_gate_blocks=2)
TOKENS = RNG.integers(0, 13, (4, 8)).astype("int32")
TARGETS = RNG.integers(0, 13, (4, 8)).astype("int32")
#: The projections of CONFIG: three of each mixer and three of each MLP, and the attention's fourth.
NUM_PROJECTIONS = 13


def values(variables):
    return {variable.path: as_array(variable).copy() for variable in variables}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "mixed_bfloat16"])
def test_a_projection_with_an_adapter_is_its_equation(dtype):
    layer = projection(6, dtype=dtype)
    layer.build((None, 8))
    layer.enable_lora(2, 3)
    a, b, x = RNG.normal(size=(8, 2)), RNG.normal(size=(2, 6)), RNG.normal(size=(2, 5, 8)).astype("float32")
    layer.lora_kernel_a.assign(a)
    layer.lora_kernel_b.assign(b)
    layer.bias.assign(np.arange(6))
    expected = x @ (as_array(kernel_of(layer)).astype("float64") + 3 / 2 * a @ b) + np.arange(6)
    # In bfloat16 each of three products is rounded by itself.
    assert_close(project(layer, keras.ops.convert_to_tensor(x)), expected, dtype.removeprefix("mixed_"), factor=2)


def test_at_first_nothing_changes_and_adapters_alone_are_trained():
    model = Griffin(CONFIG)
    expected = as_array(model(TOKENS))
    model.enable_lora(2)
    np.testing.assert_array_equal(as_array(model(TOKENS)), expected)
    assert isinstance(model.lora, Lora) and len(model.lora.layers) == NUM_PROJECTIONS
    assert {variable.path for variable in model.trainable_variables} == set(model.lora.variables)
    assert (model.lora.rank, model.lora.alpha, model.lora.targets) == (2, 2.0, None)
    assert all(variable.dtype == "float32" for variable in model.lora.variables.values())


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        (["gate"], ["block_0/mixer/gate", "block_0/mlp/gate", "block_1/mlp/gate"]),
        (("mlp/gate",), ["block_0/mlp/gate", "block_1/mlp/gate"]),
        (["block_1/mlp/up", "query"], ["block_1/mixer/query", "block_1/mlp/up"]),
        (["input_projection", "output_projection"], None),
    ],
)
def test_targets_are_names_of_parts(targets, expected):
    model = Griffin(CONFIG)
    expected = expected or [
        f"block_{n}/mixer/{name}" for n, name in [(0, targets[0]), (0, targets[1]), (1, targets[1])]
    ]
    assert sorted(layer.path for layer in target_layers("f", model, targets)) == sorted(expected)


@pytest.mark.trainable
def test_every_way_to_train_moves_the_same_adapters_and_nothing_else():
    model = Griffin(CONFIG)
    model.enable_lora(2)
    rows = {"token_ids": TOKENS, "segment_ids": np.ones_like(TOKENS)}
    packed, carried = model.packed(logits=False), model.carried(4)
    frozen = values(variable for variable in model.weights if variable.path not in model.lora.variables)
    steps = {
        "fit": lambda: model.fit(TOKENS, TARGETS, verbose=0),
        "packed": lambda: packed.fit(rows, TARGETS, verbose=0),
        "carried": lambda: carried.train_on_batch({**rows, "chunk": np.zeros(4, "int32")}, TARGETS),
    }
    for name, step in steps.items():
        before = values(model.lora.variables.values())
        step()
        after = values(model.lora.variables.values())
        # A stays where it is as long as B is zero.
        assert all(np.any(after[path] != before[path]) for path in after if path.endswith("_b")), name
    for path, value in values(model.weights).items():
        if path in frozen:
            np.testing.assert_array_equal(value, frozen[path], path)


@pytest.mark.trainable
def test_the_gradient_is_that_of_the_merged_kernel():
    """dA = s dW B^T and dB = s A^T dW, of a gradient descent in the kernels."""
    loss = functools.partial(keras.losses.SparseCategoricalCrossentropy, from_logits=True)
    model = adapted(Griffin(CONFIG), alpha=3, targets=["mlp/up"])
    plain = Griffin(CONFIG)
    plain.set_weights([as_array(weight) for weight in model.weights if weight.path not in model.lora.variables])
    (layer, *_), scale = model.lora.layers, model.lora.alpha / model.lora.rank
    a, b = as_array(layer.lora_kernel_a).copy(), as_array(layer.lora_kernel_b).copy()
    other = plain.blocks[1 if layer.path.startswith("block_1") else 0].mlp.up
    for each, up in zip(model.lora.layers, (block.mlp.up for block in plain.blocks), strict=True):
        delta = scale * as_array(each.lora_kernel_a) @ as_array(each.lora_kernel_b)
        up.kernel.assign(as_array(up.kernel) + delta)
    kernel = as_array(other.kernel).copy()
    for each in (model, plain):
        each.compile(keras.optimizers.SGD(1.0), loss())
        each.train_on_batch(TOKENS, TARGETS)
    gradient = kernel - as_array(other.kernel)
    assert_close(a - as_array(layer.lora_kernel_a), scale * gradient @ b.T)
    assert_close(b - as_array(layer.lora_kernel_b), scale * a.T @ gradient)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_merged_is_unmerged_and_everything_is_as_before(dtype):
    model = Griffin(CONFIG, dtype=dtype)
    names, trained = [w.path for w in model.weights], [w.path for w in model.trainable_variables]
    adapted(model, alpha=3)
    generated = model.generate([[1, 2, 3]], 4)[0] if dtype == "float32" else None
    expected = as_array(model(TOKENS))
    model.merge_lora()
    assert_close(
        model(TOKENS), expected, dtype, factor=1 if dtype == "float32" else 5
    )  # bfloat16's kernels are rounded
    assert model.lora is None and [w.path for w in model.weights] == names
    assert [w.path for w in model.trainable_variables] == trained
    if dtype == "float32":
        np.testing.assert_array_equal(model.generate([[1, 2, 3]], 4)[0], generated)
    model.enable_lora(1)
    assert model.lora.rank == 1


@pytest.mark.any_backend
def test_a_config_brings_adapters_of_the_same_kind():
    model = adapted(Griffin(CONFIG), alpha=3, targets=("value",))
    other = Griffin.from_config(model.get_config())
    assert other.get_config()["lora"] == {"rank": 2, "alpha": 3.0, "targets": ("value",)}
    assert list(other.lora.variables) == ["block_1/mixer/value/lora_kernel_a", "block_1/mixer/value/lora_kernel_b"]
    assert "lora" not in Griffin(CONFIG).get_config()


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"rank": 0}, r"rank must be an integer of at least 1\. Got 0"),
        ({"rank": 10**6}, r"rank must be at most 16, .* widest target, block_0/mixer/gate \(16, 22\)\. Got 1000000"),
        (
            {"rank": 9, "targets": ["value", "key"]},
            r"rank must be at most 8, .* target, block_1/mixer/\w+ \(16, 8\)\. Got 9",
        ),
        ({"alpha": 0}, r"alpha must be a positive finite number, or None\. Got 0"),
        ({"targets": ["up", "wq"]}, r"targets must be names of projections, such as gate, .*query.*\. Got 'wq'"),
        ({"targets": ["lru/gate"]}, r"targets must be names of projections, .* Got 'lru/gate'"),
        ({"targets": "up"}, r"targets must be a list of names of projections, .*; None means all\. Got 'up'"),
        ({"targets": []}, r"targets must be a list of names of projections, .*; None means all\. Got \[\]"),
    ],
)
def test_bad_arguments(arguments, sentence):
    model = Griffin(CONFIG)
    with pytest.raises(ValueError, match=rf"^enable_lora: {sentence}\.$"):
        enable_lora(model, **{"rank": 2, **arguments})
    assert model.lora is None and all(variable.trainable for variable in model.trainable_variables)


@pytest.mark.any_backend
def test_what_comes_in_the_wrong_order(tmp_path):
    model = Griffin(CONFIG)
    for act in (merge_lora, functools.partial(lora_of, "merge_lora")):
        with pytest.raises(ValueError, match=r"^merge_lora: the model must have LoRA, .* Got one without\.$"):
            act(model)
    check_no_lora("f", model)
    check_undivided("f", model)
    model.enable_lora(3)
    match = r"^enable_lora: the model must not have LoRA yet\. Got 13 layers with LoRA, such as block_0/mixer/.*\.$"
    with pytest.raises(ValueError, match=match):
        model.enable_lora(3)
    packed = model.packed()
    for name, act in {
        "quantize": lambda: model.quantize("int8"),
        "save": lambda: model.save(tmp_path / "model.keras"),
        "load_weights": lambda: model.load_weights(tmp_path / "model.weights.h5"),
        "save_to_preset": lambda: model.save_to_preset(tmp_path / "preset"),
    }.items():
        with pytest.raises(ValueError, match=rf"^{name}: the model must have no LoRA: .* Got LoRA of rank 3\.$"):
            act()
    Griffin(CONFIG).save_weights(tmp_path / "model.weights.h5")
    with pytest.raises(ValueError, match=r"load_own_variables: the model must have no LoRA: .* Got LoRA of rank 3\."):
        keras.saving.load_weights(model, tmp_path / "model.weights.h5")
    for save in (packed.save_weights, model.save_weights):
        with pytest.raises(ValueError, match=r"^save: the model must have no LoRA: .* Got LoRA of rank 3\.$"):
            save(tmp_path / "other.weights.h5")


@pytest.mark.trainable
def test_nothing_to_train_is_refused():
    model = Griffin(CONFIG)
    for variable in model.trainable_variables:
        variable.trainable = False
    for name, act in {"fit": model.fit, "train_on_batch": model.train_on_batch}.items():
        with pytest.raises(ValueError, match=rf"^{name}: the model must have trainable weights\. Got none\.$"):
            act(TOKENS, TARGETS)
