"""The encoder as a user of LSTM would use it."""

import functools

import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.generation import load_state, save_state
from keras_griffin.models import SequenceEncoder
from keras_griffin.models.sequence_encoder import pooled
from keras_griffin.testing import contracts
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close

BACKEND = keras.backend.backend()
FEATURES, WIDTH = 3, 8
INPUTS = np.random.default_rng(0).normal(size=(3, 12, FEATURES)).astype("float32")
SUBJECT = contracts.Subject(
    functools.partial(SequenceEncoder, WIDTH, 2, block_pattern=("recurrent", "local_mqa"), window=4), WIDTH
)
ONE_LAYER = contracts.Subject(functools.partial(SequenceEncoder, WIDTH, 1), WIDTH)


@functools.cache
def encoder(**options):
    made = SequenceEncoder(WIDTH, 2, **options)
    made.build((None, None, FEATURES))
    return made


@pytest.mark.any_backend
@pytest.mark.parametrize(
    "law",
    [
        pytest.param(law, marks=[pytest.mark.trainable] if law is contracts.gradients_survive_cuts else [])
        for law in contracts.LAWS
    ],
)
def test_it_keeps_the_laws_of_everything_temporal(law):
    # Rounding adds up from layer to layer: of one alone it is within the law.
    law(ONE_LAYER if law is contracts.dtypes_survive_mixed_precision else SUBJECT)


@pytest.mark.parametrize("pool", ["last", "mean", "max"])
def test_a_pool_sees_the_steps_that_are_not_masked(pool):
    mask = np.ones((3, 12), bool)
    mask[0, 5:], mask[1, :3] = False, False
    poisoned = np.where(mask[..., None], INPUTS, np.nan)
    whole = encoder()
    expected = {"last": lambda x: x[-1], "mean": lambda x: x.mean(axis=0), "max": lambda x: x.max(axis=0)}[pool]
    layer = encoder(pool=pool)
    layer.set_weights(whole.get_weights())
    alone = [expected(as_array(whole(INPUTS[row : row + 1, mask[row]]))[0]) for row in range(3)]
    assert_close(layer(poisoned, mask=mask), np.stack(alone))


@pytest.mark.parametrize("pool", ["last", "mean", "max"])
@pytest.mark.parametrize("shape", [(2, 0), (0, 3), (0, 0)])
def test_a_pool_of_nothing(pool, shape):
    layer, x, mask = encoder(pool=pool), np.zeros((*shape, 3), "float32"), np.ones(shape, bool)
    for marks in ({}, {"mask": mask}, {"mask": mask, "reset": mask}):
        np.testing.assert_array_equal(as_array(layer(x, **marks)), np.zeros((shape[0], WIDTH)))
    # A row without unmasked steps.
    x, mask = ops.full((1, 4, 2), np.nan), ops.zeros((1, 4), "bool")
    assert not np.any(as_array(pooled(pool, x, mask)))


@pytest.mark.any_backend
@pytest.mark.parametrize("pattern", [("recurrent",), ("recurrent", "local_mqa")])
def test_one_sample_after_another_gives_what_the_whole_sequence_gives(pattern):
    layer = encoder(block_pattern=pattern)
    state, steps, reset = layer.initial_state(3), [], np.zeros((3, 12), bool)
    reset[1, 5] = True
    for t, sample in enumerate(np.moveaxis(INPUTS, 1, 0)):
        features, state = layer.step(sample, state, reset=reset[:, t] if t % 2 else None)
        steps.append(as_array(features).copy())
    assert_close(np.stack(steps, axis=1), as_array(layer(INPUTS, reset=reset)), "float32")


@pytest.mark.any_backend
def test_a_stateful_layer_goes_on_in_predict_until_it_is_reset():
    layer = SequenceEncoder(WIDTH, 2, stateful=True)
    model = keras.Sequential([keras.Input(batch_shape=(3, 4, FEATURES)), layer])
    layer.set_weights(encoder().get_weights())
    expected = as_array(encoder()(INPUTS))
    for _ in range(2):
        pieces = [model.predict(INPUTS[:, start : start + 4], batch_size=3, verbose=0) for start in (0, 4, 8)]
        assert_close(np.concatenate(pieces, axis=1), expected)
        layer.reset_state()


def test_a_state_is_saved_and_continues(tmp_path):
    layer = encoder()
    _, state = layer.advance(INPUTS[:, :5], layer.initial_state(3))
    save_state(state, tmp_path / "state.safetensors")
    outputs, _ = layer.advance(INPUTS[:, 5:], load_state(tmp_path / "state.safetensors"))
    assert_close(outputs, as_array(layer(INPUTS))[:, 5:])


def test_layers_of_a_name_may_share_one_block():
    """Of those that `residual_blocks` makes; each has its own state."""
    options = {"block_pattern": ("recurrent", "local_mqa"), "mixer_options": {"local_mqa": {"share": True}}}
    layer = SequenceEncoder(WIDTH, 4, **options)
    expected = as_array(layer(INPUTS))
    assert layer.blocks[1] is layer.blocks[3] and layer.blocks[0] is not layer.blocks[2]
    _, state = layer.advance(INPUTS[:, :5], layer.initial_state(3))
    assert_close(layer.advance(INPUTS[:, 5:], state)[0], expected[:, 5:])


@pytest.mark.trainable
@pytest.mark.parametrize("bidirectional", [False, True])
def test_it_trains_behind_a_masking_layer_and_is_saved(bidirectional, tmp_path):
    layer = SequenceEncoder(WIDTH, 2, pool="last", dropout=0.2, bidirectional=bidirectional)
    inputs = keras.Input((None, FEATURES))
    model = keras.Model(inputs, keras.layers.Dense(1)(layer(keras.layers.Masking()(inputs))))
    model.compile(keras.optimizers.Adam(1e-2), "mse")
    # TensorFlow would trace the first step once more for the variables that it makes.
    model.optimizer.build(model.trainable_variables)
    padded = INPUTS.copy()
    padded[0, 7:] = 0.0
    losses = model.fit(padded, np.ones((3, 1), "float32"), epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    expected = as_array(model(padded))
    assert_close(model(padded[:1, :7]), expected[:1])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert_close(loaded(padded), expected)
    assert type(loaded.layers[-2]) is SequenceEncoder


@pytest.mark.filterwarnings("ignore:The `native_serialization` parameter:DeprecationWarning")  # Keras gives it to JAX
@pytest.mark.skipif(BACKEND not in ("jax", "tensorflow"), reason="Keras writes a SavedModel from these")
def test_a_saved_model_serves_what_the_model_gives(tmp_path):
    tensorflow = pytest.importorskip("tensorflow")
    inputs = keras.Input((None, FEATURES))
    model = keras.Model(inputs, SequenceEncoder(WIDTH, 1, pool="last")(keras.layers.Masking()(inputs)))
    model.export(tmp_path, format="tf_saved_model", verbose=False)
    served = tensorflow.saved_model.load(tmp_path)
    ended = np.where(np.arange(12)[:, None] < 7, INPUTS, 0.0).astype("float32")
    for rows in (INPUTS, ended[:2, :9]):
        assert_close(served.serve(rows).numpy(), as_array(model(rows)))


def test_dropout_is_for_training_alone():
    layer = encoder(dropout=0.5)
    assert_close(layer(INPUTS), as_array(layer(INPUTS)))
    different = as_array(layer(INPUTS, training=True)) != as_array(layer(INPUTS))
    assert np.all(np.any(different, axis=(1, 2)))


@pytest.mark.any_backend
def test_messages():
    with pytest.raises(ValueError, match="^SequenceEncoder: a bidirectional layer must not be stateful. Got both.$"):
        SequenceEncoder(8, bidirectional=True, stateful=True)
    with pytest.raises(ValueError, match="^SequenceEncoder: a stateful layer must know its batch size. Got inputs"):
        SequenceEncoder(8, stateful=True).build((None, None, 3))
    growing = SequenceEncoder(8, 3, stateful=True, block_pattern=("recurrent", "global_mqa"))
    with pytest.raises(ValueError, match="^SequenceEncoder: a stateful layer's .* Got global_mqa.$"):
        growing(INPUTS)
    with pytest.raises(ValueError, match="^SequenceEncoder: num_heads must divide width .* Got num_heads 3"):
        SequenceEncoder(8, num_heads=3)
    with pytest.raises(ValueError, match="^SequenceEncoder: mixer_options must be for mixers of the pattern recurrent"):
        SequenceEncoder(8, mixer_options={"local_mqa": {}})
    with pytest.raises(ValueError, match="^step: the layer must be built first"):
        SequenceEncoder(8).step(INPUTS[:, 0], None)
    with pytest.raises(ValueError, match=r"^step: a sample must have shape \(B, 3\). Got \(3, 12, 3\)"):
        encoder().step(INPUTS, encoder().initial_state(3))
    with pytest.raises(ValueError, match=r"^step: a reset must have shape \(3,\). Got \(3, 1\)"):
        encoder().step(INPUTS[:, 0], encoder().initial_state(3), reset=np.zeros((3, 1), bool))
    with pytest.raises(ValueError, match="^initial_state: the layer must be causal"):
        encoder(bidirectional=True).initial_state(2)


@pytest.mark.any_backend
def test_a_state_that_does_not_belong_is_refused():
    layer = encoder()
    other = SequenceEncoder(WIDTH, 1)
    other.build((None, None, FEATURES))
    rule = "the state must be one of this layer, of 3 rows and 2 blocks. Got"
    for state, words in [
        (layer.initial_state(2), "one of 2 rows"),
        (other.initial_state(3), "one of 1 blocks"),
        (None, "a NoneType"),
    ]:
        with pytest.raises(ValueError, match=f"^step: {rule} {words}"):
            layer.step(INPUTS[:, 0], state)
        with pytest.raises(ValueError, match=f"^advance: {rule} {words}"):
            layer.advance(INPUTS, state)


def test_a_stateful_layer_refuses_batches_of_another_size():
    layer = SequenceEncoder(WIDTH, 1, stateful=True)
    layer.build((3, None, FEATURES))
    with pytest.raises(ValueError, match="SequenceEncoder: a stateful layer's batches must have the size .* with, 3"):
        layer(INPUTS[:2])
