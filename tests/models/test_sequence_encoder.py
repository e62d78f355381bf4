"""The encoder as a user of LSTM would use it."""

import functools
import io
import itertools
import re
import zipfile

import h5py
import keras
import numpy as np
import pytest

from keras_griffin.generation import load_state, save_state
from keras_griffin.layers import UNITS
from keras_griffin.models import SequenceEncoder
from keras_griffin.models.pooling import POOLS
from keras_griffin.testing import contracts
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close

BACKEND = keras.backend.backend()
FEATURES, WIDTH = 3, 8
INPUTS = np.random.default_rng(0).normal(size=(3, 12, FEATURES)).astype("float32")
SUBJECT = contracts.Subject(
    functools.partial(SequenceEncoder, WIDTH, 2, block_pattern=("recurrent", "local_mqa"), window=4), WIDTH
)
# The laws' weights are so random that sixteen taps would magnify its rounding.
ONE_LAYER = contracts.Subject(functools.partial(SequenceEncoder, WIDTH, 1, conv_kernel_size=4), WIDTH)


@functools.cache
def encoder(num_layers=2, **options):
    # Few taps: JAX compiles each when it is called step by step. `SUBJECT` has those of the default.
    made = SequenceEncoder(WIDTH, num_layers, **{"conv_kernel_size": 4, **options})
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


def streamed(layer, marks):
    """The outputs of a pooled encoder after each sample."""
    state, outputs = layer.initial_state(3), []
    for t in range(INPUTS.shape[1]):
        vector, state = layer.advance(
            INPUTS[:, t : t + 1], state, **{name: x[:, t : t + 1] for name, x in marks.items()}
        )
        outputs.append(as_array(vector))
    return outputs


@pytest.mark.any_backend
@pytest.mark.parametrize("pool", POOLS)
def test_a_pool_of_a_stream_is_that_of_the_row_so_far(pool, tmp_path):
    mask, reset = np.ones((3, 12), bool), np.zeros((3, 12), bool)
    mask[0, 5:], mask[1, :3], reset[2, 7], reset[1, 2] = False, False, True, True
    marks, layer = {"mask": mask, "reset": reset}, encoder(pool=pool)
    outputs = streamed(layer, marks)
    for end in (1, 4, 12):
        so_far = {name: mark[:, :end] for name, mark in marks.items()}
        assert_close(outputs[end - 1], as_array(layer(INPUTS[:, :end], **so_far)))
    _, state = layer.advance(INPUTS[:, :9], layer.initial_state(3))
    save_state(state, tmp_path / "state.safetensors")
    state = load_state(tmp_path / "state.safetensors")
    for sample in (9, 10, 11):
        vector, state = layer.step(INPUTS[:, sample], state)
    assert_close(vector, as_array(layer(INPUTS)))


@pytest.mark.any_backend
@pytest.mark.parametrize("pool", POOLS)
def test_nan_crosses_neither_a_reset_nor_a_mask(pool):
    """An empty row with a reset, a row of NaN until a reset, and one that is masked beyond."""
    layer, x, mask, reset = encoder(pool=pool), INPUTS.copy(), np.ones((3, 12), bool), np.zeros((3, 12), bool)
    mask[0], mask[2, 9:], reset[0, 2], reset[1:, 5] = False, False, True, True
    x[0], x[1:, :5], x[2, 9:] = np.nan, np.nan, np.nan
    found = as_array(layer(x, mask=mask, reset=reset))
    assert not np.any(found[0])
    assert_close(found[1:2], as_array(layer(INPUTS[1:2, 5:])))
    assert_close(found[2:], as_array(layer(INPUTS[2:, 5:9])))


@pytest.mark.trainable
@pytest.mark.parametrize("pool", POOLS)
def test_training_does_not_see_nan_before_a_reset_or_under_a_mask(pool):
    mask, reset, weights = np.ones((3, 12), bool), np.zeros((3, 12), bool), []
    mask[0], mask[2, 9:], reset[1, [2, 5]], reset[2, [6, 10]] = False, False, True, True
    for fill in (0.0, np.nan):
        x = INPUTS.copy()
        x[0], x[1, :5], x[2, :6], x[2, 9:] = fill, fill, fill, fill
        inputs = keras.Input((12, FEATURES)), keras.Input((12,), dtype="bool"), keras.Input((12,), dtype="bool")
        layer = SequenceEncoder(WIDTH, 1, pool=pool, conv_kernel_size=4)
        model = keras.Model(inputs, layer(inputs[0], mask=inputs[1], reset=inputs[2]))
        layer.set_weights(encoder(num_layers=1, pool=pool).get_weights())
        model.compile("sgd", "mse")
        model.fit((x, mask, reset), np.ones((3, *model.output_shape[1:])), epochs=2, verbose=0)
        weights.append(model.get_weights())
    for found, expected in zip(*reversed(weights), strict=True):
        assert_close(found, expected)


@pytest.mark.any_backend
@pytest.mark.parametrize("pool", POOLS)
def test_a_stateful_layer_pools_what_it_has_seen(pool, tmp_path):
    layer = SequenceEncoder(WIDTH, 2, pool=pool, conv_kernel_size=4, stateful=True)
    model = keras.Sequential([keras.Input(batch_shape=(3, 4, FEATURES)), layer])
    layer.set_weights(encoder(pool=pool).get_weights())
    for end in (4, 8, 12):
        assert_close(model.predict(INPUTS[:, end - 4 : end], verbose=0), as_array(encoder(pool=pool)(INPUTS[:, :end])))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert_close(loaded.predict(INPUTS[:, :4], verbose=0), as_array(encoder(pool=pool)(INPUTS[:, :4])))


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
@pytest.mark.parametrize("pattern", [("recurrent",), ("recurrent", "local_mqa"), ("global_mqa",)])
def test_a_state_may_be_continued_again(pattern):
    """As often as one likes; PyTorch records the second step, and replays it from the third."""
    layer = encoder(block_pattern=pattern, window=4)
    _, state = layer.advance(INPUTS[:, :6], layer.initial_state(3))
    expected = as_array(layer(INPUTS))[:, 6]
    before = [as_array(leaf).copy() for leaf in keras.tree.flatten(state)]
    for _ in range(4):
        features, after = layer.step(INPUTS[:, 6], state)
        assert_close(features, expected)
    assert_close(layer.advance(INPUTS[:, 6:7], state)[0][:, 0], expected)
    for leaf, kept in zip(keras.tree.flatten(state), before, strict=True):
        np.testing.assert_array_equal(as_array(leaf), kept)
    assert_close(layer.step(INPUTS[:, 7], after)[0], as_array(layer(INPUTS))[:, 7])


@pytest.mark.any_backend
def test_a_stateful_layer_goes_on_in_predict_until_it_is_reset():
    layer = SequenceEncoder(WIDTH, 2, conv_kernel_size=4, stateful=True)
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
    padded, targets = INPUTS.copy(), np.ones((3, 1), "float32")
    padded[0, 7:] = 0.0
    # Without dropout.
    before = model.evaluate(padded, targets, verbose=0)
    model.fit(padded, targets, epochs=8, verbose=0)
    assert model.evaluate(padded, targets, verbose=0) < before / 2
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


@pytest.mark.any_backend
def test_a_summary_lists_the_parts_and_files_stay_as_they_were(tmp_path):
    """Keras would write whatever else `layers` named, and so look for it in earlier files."""
    layer = SequenceEncoder(WIDTH, 3, name="encoder", mixer_options={"recurrent": {"share": True}})
    model = keras.Sequential([keras.Input((None, FEATURES)), layer, keras.layers.Dense(1)])
    lines = []
    model.summary(expand_nested=True, line_length=80, print_fn=lines.append)
    parts = re.findall(r"└ (\w+) \((\w+)\) +│ \(None, None, 8\)", "".join(lines))
    assert parts == [("input_projection", "Dense"), ("block_0", "ResidualBlock"), ("final_norm", "RMSNorm")]
    assert model.count_params() == sum(part.count_params() for part in layer.layers) + WIDTH + 1
    layer.trainable = False
    assert len(model.trainable_weights) == 2
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        weights = h5py.File(io.BytesIO(archive.read("model.weights.h5")))
    assert set(weights["layers/sequence_encoder"]) == {"blocks", "final_norm", "input_projection", "vars"}


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("unit", "width"),
    [*itertools.product(UNITS, (8, 31)), *itertools.product(("cg_lru", "s5"), (1, 10, 16, 20))],
)
def test_every_unit_fits_every_width(unit, width):
    layer = SequenceEncoder(width, 1, mixer_options={"recurrent": {"unit": unit}})
    assert layer(INPUTS[:, :2]).shape == (3, 2, width)


@pytest.mark.any_backend
def test_the_gates_blocks_divide_both_halves():
    """At widths where the blocks of real units do too, they are those: files keep their shapes."""
    for width, recurrence_width, expected in [
        (24, None, (32, 2)),
        (31, None, (40, 2)),
        (32, 64, (64, 4)),
        (32, 42, (42, 1)),
        (96, None, (128, 8)),
    ]:
        mixer = SequenceEncoder(width, 1, unit="cg_lru", recurrence_width=recurrence_width).blocks[0].mixer
        assert (mixer.recurrence_width, mixer.num_gate_blocks) == expected
    real = SequenceEncoder(31, 1, unit="rg_lru").blocks[0].mixer
    assert (real.recurrence_width, real.num_gate_blocks) == (42, 2)


@pytest.mark.any_backend
def test_the_unit_is_a_choice():
    for unit in UNITS:
        assert encoder(unit=unit).blocks[0].mixer.unit == unit
    options = {"recurrent": {"unit": "lru"}}
    assert encoder(unit="s5", block_pattern=("recurrent", "rg_lru")).blocks[0].mixer.unit == "s5"
    assert SequenceEncoder(WIDTH, mixer_options=options).blocks[0].mixer.unit == "lru"
    with pytest.raises(ValueError, match="^SequenceEncoder: unit must be one of rg_lru, cg_lru, .*. Got 'gru'"):
        SequenceEncoder(WIDTH, unit="gru")


@pytest.mark.any_backend
def test_a_file_from_before_there_was_a_choice_has_an_rg_lru():
    config = encoder().get_config()
    assert config.pop("unit") == "s5"
    loaded = SequenceEncoder.from_config(config)
    assert (loaded.unit, loaded.conv_kernel_size) == ("rg_lru", 4)


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
        (encoder(pool="mean_max").initial_state(3), "one of another pool"),
    ]:
        with pytest.raises(ValueError, match=f"^step: {rule} {words}"):
            layer.step(INPUTS[:, 0], state)
        with pytest.raises(ValueError, match=f"^advance: {rule} {words}"):
            layer.advance(INPUTS, state)


@pytest.mark.any_backend
def test_a_state_of_another_pool_is_refused():
    for pool, state in (("mean", encoder().initial_state(3)), ("max", encoder(pool="mean_max").initial_state(3))):
        with pytest.raises(
            ValueError, match="^step: the state must be one of this layer, .* Got one of another pool.$"
        ):
            encoder(pool=pool).step(INPUTS[:, 0], state)


def test_a_stateful_layer_refuses_batches_of_another_size():
    layer = SequenceEncoder(WIDTH, 1, stateful=True)
    layer.build((3, None, FEATURES))
    with pytest.raises(ValueError, match="SequenceEncoder: a stateful layer's batches must have the size .* with, 3"):
        layer(INPUTS[:2])
