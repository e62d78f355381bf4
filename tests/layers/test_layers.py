"""The small layers against NumPy; and every layer: shapes, saving, training."""

from functools import partial

import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin import layers, mixers
from keras_griffin.layers.normalization import NORM, NORMS, norm_weights, normalization
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from keras_griffin.testing.compiled import compiled
from keras_griffin.testing.gradients import value_and_gradient
from tests.layers.units.definitions import gelu

INPUTS = np.random.default_rng(0).normal(size=(2, 6, 12)).astype("float32")
LAYERS = {
    "RMSNorm": partial(layers.RMSNorm, 1e-5),
    "BlockDiagonalDense": partial(layers.BlockDiagonalDense, 3, units=6, use_bias=False),
    "GatedMLP": partial(layers.GatedMLP, 20, output_variance_scale=0.5),
    "TemporalConv1D": partial(layers.TemporalConv1D, 3),
    "RGLRU": partial(
        layers.RGLRU, num_gate_blocks=3, decay_range=(0.5, 0.9), decay_initializer="ring", return_sequences=True
    ),
    "CGLRU": partial(layers.CGLRU, num_gate_blocks=3, maximum_phase=1.0, return_sequences=True),
    "ResidualBlock": lambda **kwargs: layers.ResidualBlock(mixers.RecurrentBlock(16, **kwargs), 20, **kwargs),
    "RecurrentBlock": partial(mixers.RecurrentBlock, 16, conv_kernel_size=2),
    "LocalMQA": partial(mixers.LocalMQA, 3, window=4),
    "GlobalMQA": partial(mixers.GlobalMQA, 3, head_dim=8),
    "SparseMQA": partial(mixers.SparseMQA, 3, stride=4, pattern="fixed", summary_steps=2),
}
EVERY_LAYER = pytest.mark.parametrize("name", LAYERS)


@EVERY_LAYER
def test_functional_model_of_any_length_saved_and_loaded(name, tmp_path):
    inputs = keras.Input((None, 12))
    model = keras.Model(inputs, LAYERS[name]()(inputs))
    assert model.output_shape[:2] == (None, None)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    call, call_loaded = compiled(model), compiled(loaded)
    for length in (6, 1):
        outputs = as_array(call(INPUTS[:, :length]))
        assert outputs.shape[1:] == (length, *model.output_shape[2:])
        assert_close(call_loaded(INPUTS[:, :length]), outputs)


@EVERY_LAYER
@pytest.mark.trainable
def test_every_weight_is_trained(name):
    model = keras.Sequential([keras.Input((6, 12)), LAYERS[name](), keras.layers.Dense(1)])
    before = [as_array(weight) for weight in model.layers[0].trainable_variables]
    model.compile(keras.optimizers.Adam(0.1), "mse")
    model.fit(INPUTS, np.ones((2, 6, 1), "float32"), epochs=2, verbose=0)
    for weight, old in zip(model.layers[0].trainable_variables, before, strict=True):
        assert np.isfinite(as_array(weight)).all() and np.abs(as_array(weight) - old).max() > 0, weight.path


@pytest.mark.parametrize("kind", NORMS)
def test_norms(kind):
    layer = normalization(kind, 1e-3, name="norm")
    layer.build((None, None, 12))
    shapes = {weight.path: tuple(weight.shape) for weight in layer.weights}
    assert shapes == {path: weight.shape for path, weight in norm_weights("norm", kind, 12).items()}
    scale, *shift = weights = [np.random.default_rng(i).normal(size=shape) for i, shape in enumerate(shapes.values())]
    layer.set_weights(weights)
    x = INPUTS.astype("float64") + 2.0
    centred = x if kind == "rms" else x - x.mean(-1, keepdims=True)
    normal = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-3)
    assert_close(layer(x.astype("float32")), normal * (1 + scale) if kind == "rms" else normal * scale + shift[0])
    assert NORM.holds(kind) and not NORM.holds("batch")


def test_a_norm_in_half_precision_keeps_small_scales():
    """One plus 0.003 is 1 in bfloat16: the mean tells, as rounding the outputs hides it in each."""
    layer = layers.RMSNorm(dtype="mixed_bfloat16")
    layer.build((None, 512))
    layer.scale.assign(np.full(512, 0.003))
    x = ops.cast(np.random.default_rng(0).normal(size=(16, 512)), "bfloat16")
    wide = as_array(x).astype("float64")
    expected = wide / np.sqrt((wide**2).mean(-1, keepdims=True) + 1e-6) * 1.003
    assert np.sum(as_array(layer(x)) * expected) / np.sum(expected**2) == pytest.approx(1, abs=3e-4)


def test_block_diagonal_dense_is_a_dense_layer_with_zeros():
    layer = layers.BlockDiagonalDense(3, units=6)
    layer.build((None, None, 12))
    kernel, bias = (np.random.default_rng(1).normal(size=weight.shape) for weight in layer.get_weights())
    layer.set_weights([kernel, bias])
    dense = np.zeros((12, 6))
    for g in range(3):
        dense[4 * g : 4 * g + 4, 2 * g : 2 * g + 2] = kernel[g]
    assert_close(layer(INPUTS), INPUTS @ dense + bias.reshape(-1))


def test_gated_mlp():
    layer = layers.GatedMLP(20)
    layer.build((None, None, 12))
    gate, gate_bias, up, up_bias, down, down_bias = weights = [
        np.random.default_rng(i).normal(size=weight.shape) * 0.3 for i, weight in enumerate(layer.get_weights())
    ]
    layer.set_weights(weights)
    hidden = gelu(INPUTS @ gate + gate_bias) * (INPUTS @ up + up_bias)
    assert_close(layer(INPUTS), hidden @ down + down_bias)


def test_the_last_projection_starts_with_the_variance_asked_for():
    layer = layers.GatedMLP(512, output_variance_scale=0.25)
    layer.build((None, None, 256))
    for kernel, variance in ((layer.gate.kernel, 1 / 256), (layer.down.kernel, 0.25 / 512)):
        np.testing.assert_allclose(as_array(kernel).std(), variance**0.5, rtol=0.02)


def test_token_embedding():
    layer = layers.TokenEmbedding(10, 96, scale_by_sqrt_width=True, logits_soft_cap=3.0)
    token_ids = np.array([[1, 9, 0]])
    vectors = as_array(layer(token_ids))
    table = as_array(layer.embeddings)
    assert layer.scale == 9.8125  # the square root of 96 in bfloat16
    assert_close(vectors, 9.8125 * table[token_ids])
    assert_close(layer(vectors, reverse=True), 3.0 * np.tanh(vectors @ table.T / 3.0))
    np.testing.assert_allclose(table.std(), 96**-0.5, rtol=0.1)
    plain = layers.TokenEmbedding(10, 96)
    assert_close(plain(token_ids), as_array(plain.embeddings)[token_ids])
    assert_close(plain(vectors, reverse=True), vectors @ as_array(plain.embeddings).T)


def test_logits_are_float32_under_mixed_precision():
    layer = layers.TokenEmbedding(10, 8, dtype="mixed_bfloat16")
    vectors = layer(np.array([[1, 2]]))
    assert keras.backend.standardize_dtype(vectors.dtype) == "bfloat16"
    logits = layer(vectors, reverse=True)
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    # Their bound is computed from them in float32 too.
    layer.soft_cap = 0.1
    assert_close(layer(vectors, reverse=True), 0.1 * np.tanh(as_array(logits) / 0.1), "float32")


def test_temporal_conv():
    layer = layers.TemporalConv1D(4)
    layer.build((None, None, 12))
    kernel, bias = (np.random.default_rng(i).normal(size=w.shape) for i, w in enumerate(layer.get_weights()))
    layer.set_weights([kernel, bias])
    padded = np.concatenate([np.zeros((2, 3, 12)), INPUTS], axis=1)
    assert_close(layer(INPUTS), bias + sum(kernel[k] * padded[:, k : k + 6] for k in range(4)))


def test_temporal_conv_starts_with_the_papers_variance():
    layer = layers.TemporalConv1D(4)
    layer.build((None, None, 4096))
    np.testing.assert_allclose(as_array(layer.kernel).std(), 0.05, rtol=0.03)


def test_residual_block_adds_twice():
    block = layers.ResidualBlock(mixers.RecurrentBlock(16), 20)
    x = INPUTS
    outputs = as_array(block(x))
    u = x + as_array(block.mixer(block.mixer_norm(x)))
    assert_close(outputs, u + as_array(block.mlp(block.mlp_norm(u))))


def test_dropout_acts_on_each_branch():
    block = layers.ResidualBlock(mixers.RecurrentBlock(16), 20, dropout=0.5)
    block(INPUTS)
    weights = block.get_weights()
    for silent in (block.mlp.down, block.mixer.output_projection):
        block.set_weights(weights)
        silent.set_weights([np.zeros(weight.shape) for weight in silent.weights])
        branch, dropped = (as_array(block(INPUTS, training=training)) - INPUTS for training in (False, True))
        is_zero = np.abs(dropped) < 1e-6
        assert 0.3 < is_zero.mean() < 0.7
        np.testing.assert_allclose(dropped, np.where(is_zero, 0, 2 * branch), atol=1e-5)


@pytest.mark.trainable
@pytest.mark.parametrize("again", [False, True])
def test_a_gradient_makes_the_block_again_where_that_is_asked_for(again, monkeypatch):
    block = layers.ResidualBlock(mixers.RecurrentBlock(6, num_gate_blocks=2), 8, rematerialize=again)
    block.build((None, None, 4))
    inputs = np.random.default_rng(0).normal(size=(2, 5, 4)).astype("float32")

    def loss(inputs):
        return ops.sum(block(inputs) ** 2)

    if keras.backend.backend() == "jax":
        # JAX runs Python once; its program says what is computed again.
        import jax

        assert str(jax.make_jaxpr(jax.grad(loss))(inputs)).count("remat") == again
        return
    calls, mlp = [], layers.GatedMLP.call

    def counted(layer, *arguments):
        calls.append(layer)
        return mlp(layer, *arguments)

    monkeypatch.setattr(layers.GatedMLP, "call", counted)
    value_and_gradient(loss, inputs)
    assert len(calls) == 1 + again


@pytest.mark.trainable  # Keras's NumPy backend warns of what its int8 layers need for gradients
def test_projections_take_lora_and_int8_from_keras():
    recurrent = layers.RGLRU(num_gate_blocks=3, return_sequences=True)
    model = keras.Sequential([keras.Input((6, 12)), recurrent, layers.GatedMLP(16)])
    model.layers[1].gate.enable_lora(2)
    model.layers[0].input_gate.blocks.enable_lora(2)
    before = as_array(model(INPUTS))
    with pytest.warns(UserWarning, match="does not have a `quantize` method"):  # the layers around the projections
        model.quantize("int8")
    assert {model.layers[1].up.quantization_mode, model.layers[0].input_gate.blocks.quantization_mode} == {"int8"}
    assert_close(model(INPUTS), before, "bfloat16", factor=2)  # eight bits carry about as much as bfloat16


def test_messages():
    with pytest.raises(
        ValueError, match=r"BlockDiagonalDense: num_blocks must divide .* Got num_blocks 5, input width 12"
    ):
        layers.BlockDiagonalDense(5).build((None, 12))
    with pytest.raises(NotImplementedError, match=r"advance: SequenceLayer must define it\."):
        layers.SequenceLayer().advance(INPUTS, None)


TEMPORAL = [layers.RGLRU, layers.CGLRU, layers.TemporalConv1D]


@pytest.mark.parametrize("layer", TEMPORAL)
def test_arguments_that_do_not_fit(layer):
    name = layer.__name__
    with pytest.raises(
        ValueError, match=rf"initial_state: the layer must be built first, .* Got {name} 'unbuilt', not built\."
    ):
        layer(name="unbuilt").initial_state(2)
    built = layer()
    built.build((None, None, 12))
    with pytest.raises(ValueError, match=rf"{name}: mask must be boolean, .* shape \(2, 6\)\. Got .* shape \(2, 5\)\."):
        built(INPUTS, mask=np.ones((2, 5), bool))
    with pytest.raises(ValueError, match=rf"{name}: reset must be boolean, .* Got .* shape \(2, 1\)\."):
        built.advance(INPUTS, built.initial_state(2), reset=np.ones((2, 1), bool))
    with pytest.raises(ValueError, match=rf"{name}: inputs must have shape \(B, T, D\)\. Got \(2, 12\)\."):
        built.advance(INPUTS[:, 0], built.initial_state(2))
    with pytest.raises(ValueError, match="expected axis -1 of input shape to have value 12"):
        built(INPUTS[..., :8])
    with pytest.raises(ValueError, match="expected ndim=3"):
        keras.Sequential([keras.Input((12,)), layer()])


@pytest.mark.parametrize("layer", TEMPORAL)
def test_marks_may_be_integers(layer):
    layer = layer()
    marks = np.array([[1, 0, 1, 1, 0, 1]] * 2)
    assert_close(layer(INPUTS, reset=marks, mask=marks), as_array(layer(INPUTS, reset=marks > 0, mask=marks > 0)))
