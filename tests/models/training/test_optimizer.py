import keras
import numpy as np
import pytest
from keras import ops

from keras_griffin.layers import CGLRU, LRU, BlockDiagonalDense
from keras_griffin.models import GriffinConfig
from keras_griffin.models.training.optimizer import optimizer_groups
from keras_griffin.testing.closeness import assert_close
from keras_griffin.training import AdamW

RNG = np.random.default_rng(0)
TOKENS, TARGETS = RNG.integers(7, size=(2, 8, 4), dtype="int32")


def lookup_and_product():
    """A model of two variables, the same each time; TensorFlow's gradient of its lookup is a list of rows."""
    layers = keras.layers.Embedding(7, 5), keras.layers.Dense(7, use_bias=False)
    model = keras.Sequential([keras.Input((4,), dtype="int32"), *layers])
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(size=weights.shape) for weights in model.get_weights()])
    return model


def trained(optimizer, batch_size, weights=None, model=None):
    """The model after two passes over the tokens."""
    model = model or lookup_and_product()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight")
    model.compile(optimizer, loss)
    model.fit(TOKENS, TARGETS, batch_size, epochs=2, sample_weight=weights, shuffle=False, verbose=0)
    return model


def step_without_gradients(optimizer, variables):
    """The factor by which each variable shrinks when only weight decay acts."""
    for variable in variables:
        variable.assign(np.ones(variable.shape))
    optimizer.apply([keras.ops.zeros(variable.shape) for variable in variables], variables)
    return {variable.path: keras.ops.convert_to_numpy(variable.value).min().item() for variable in variables}


def one_block(name):
    """A block of a mixer, within another layer."""
    config = GriffinConfig(vocabulary_size=7, width=8, num_layers=1, num_heads=1, block_pattern=(name,))
    mixer = config.mixer_class(name)(**config.mixer_arguments(name), name="mixer")
    mixer.build((None, None, 8))
    return mixer


@pytest.mark.any_backend
def test_the_dynamics_of_several_layers_in_one_model():
    """Keras numbers their names."""
    model = keras.Sequential([keras.Input((None, 8)), *(LRU(return_sequences=True) for _ in range(3))])
    assert len(optimizer_groups(model.trainable_variables)["dynamics"]) == 9


@pytest.mark.trainable
@pytest.mark.parametrize(("name", "accumulation"), [("lru", None), ("mamba", 2)])
def test_the_steps_of_dynamics_are_scaled(name, accumulation):
    """Against NumPy: the first step of Adam is the sign of the mean gradient, but for epsilon."""
    options = {"weight_decay": 0.1, "global_clipnorm": None, "epsilon": 1e-3, "beta_1": 0.9, "beta_2": 0.99}
    optimizer = AdamW(0.01, gradient_accumulation_steps=accumulation, dynamics_scale=0.25, **options)
    variables = one_block(name).trainable_variables
    groups = {id(variable): group for group, members in optimizer_groups(variables).items() for variable in members}
    before = [ops.convert_to_numpy(variable.value).astype("float64") for variable in variables]
    rng = np.random.default_rng(0)
    batches = [[rng.normal(size=weight.shape).astype("float32") for weight in before] for _ in range(accumulation or 1)]
    for gradients in batches:
        optimizer.apply([ops.convert_to_tensor(gradient) for gradient in gradients], variables)
    for variable, weight, *gradients in zip(variables, before, *batches, strict=True):
        gradient = np.mean(gradients, axis=0)
        # The bias correction of the second moment also divides epsilon.
        step = gradient / (np.abs(gradient) + 1e-3 / np.sqrt(1 - 0.99))
        rate = {"decay": 0.01, "no_decay": 0.01, "dynamics": 0.0025}[groups[id(variable)]]
        decayed = weight * (1 - 0.01 * 0.1) if groups[id(variable)] == "decay" else weight
        assert_close(ops.convert_to_numpy(variable.value), decayed - rate * step)


@pytest.mark.any_backend
@pytest.mark.trainable
def test_biases_that_are_matrices_and_the_complex_recurrence_are_spared():
    model = keras.Sequential([keras.Input((None, 32)), CGLRU(name="cg_lru"), keras.layers.Dense(1, name="head")])
    factors = step_without_gradients(AdamW(0.5, weight_decay=0.2), model.trainable_variables)
    assert [path for path, factor in factors.items() if factor < 1] == [model.layers[-1].kernel.path]
    # Outside of a recurrence too, where no name but its own spares it.
    alone = BlockDiagonalDense(2)
    alone.build((None, 4))
    kernel, bias = alone.blocks.kernel, alone.blocks.bias
    assert len(bias.shape) > 1
    assert optimizer_groups([kernel, bias]) == {"decay": [kernel], "no_decay": [bias], "dynamics": []}


@pytest.mark.any_backend
@pytest.mark.trainable
def test_a_loaded_optimizer_knows_the_same_variables(tmp_path):
    model = keras.Sequential([keras.Input((4, 8)), LRU(name="lru"), keras.layers.Dense(7)])
    model.compile(AdamW(0.5, weight_decay=0.2, drop_nonfinite=True, dynamics_scale=0.0), "mse")
    model.optimizer.build(model.trainable_variables)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.optimizer, AdamW) and loaded.optimizer.drop_nonfinite
    expected = step_without_gradients(model.optimizer, model.trainable_variables)
    factors = step_without_gradients(loaded.optimizer, loaded.trainable_variables)
    assert list(factors.values()) == pytest.approx(list(expected.values())) and min(expected.values()) < 1
    loaded.fit(RNG.normal(size=(8, 4, 8)).astype("float32"), RNG.normal(size=(8, 7)), verbose=0)
    lru = loaded.layers[0]
    assert np.all(ops.convert_to_numpy(lru.nu) == 1) and np.any(ops.convert_to_numpy(lru.feedthrough) != 1)


@pytest.mark.trainable
def test_gradients_are_clipped_by_their_global_norm():
    moved = []
    for scale in (1.0, 100.0):
        variable = keras.Variable(np.zeros((2, 2), "float32"))
        optimizer = AdamW(0.1, weight_decay=0.0, epsilon=1.0)
        optimizer.apply([keras.ops.full((2, 2), scale)], [variable])
        moved.append(keras.ops.convert_to_numpy(variable.value))
    np.testing.assert_allclose(*moved, rtol=1e-5)


@pytest.mark.trainable
def test_rows_that_are_looked_up_often_are_clipped_by_the_norm_of_their_sum():
    """Without a first moment and with a large epsilon, the step is in proportion to the clipped gradient."""
    embedding = keras.layers.Embedding(7, 5)
    model = keras.Sequential([keras.Input((4,), dtype="int32"), embedding])
    before = embedding.get_weights()[0]
    model.compile(AdamW(1.0, weight_decay=0.0, beta_1=0.0, beta_2=0.0, epsilon=1e3), lambda targets, y: ops.sum(y))
    model.fit(np.zeros((8, 4), "int32"), TARGETS, batch_size=8, verbose=0)
    assert np.linalg.norm(embedding.get_weights()[0] - before) == pytest.approx(1e-3, rel=1e-2)


@pytest.mark.trainable
@pytest.mark.parametrize("weighted", [False, True])
def test_accumulated_batches_are_one_joined_batch(weighted):
    """With a norm that clips, weight decay and bias-corrected moments; each batch has as much weight as the others."""
    weights = None
    if weighted:
        weights = np.stack([RNG.permutation([0.0, 1.0, 2.0, 3.0]) for _ in TOKENS]).astype("float32")
    options = {"weight_decay": 0.5, "global_clipnorm": 0.05}
    joined = trained(AdamW(0.01, **options), 8, weights)
    accumulated = trained(AdamW(0.01, gradient_accumulation_steps=4, **options), 2, weights)
    for weight, expected, start in zip(
        accumulated.get_weights(), joined.get_weights(), lookup_and_product().get_weights(), strict=True
    ):
        assert_close(weight, expected)
        assert np.abs(expected - start).max() > 0.01


@pytest.mark.trainable
def test_an_update_between_two_batches_is_saved(tmp_path):
    """After one batch of two, the loaded model goes on as if it had not been saved."""
    model = lookup_and_product()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(AdamW(0.01, gradient_accumulation_steps=2), loss)
    before = model.get_weights()
    model.train_on_batch(TOKENS[:4], TARGETS[:4])
    np.testing.assert_array_equal(model.get_weights()[0], before[0])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for each in (model, loaded):
        each.train_on_batch(TOKENS[4:], TARGETS[4:])
    assert np.abs(model.get_weights()[0] - before[0]).max() > 0
    for weight, expected in zip(loaded.get_weights(), model.get_weights(), strict=True):
        assert_close(weight, expected)


@pytest.mark.trainable
def test_schedules_count_batches_and_the_moments_updates():
    class Ramp(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            return ops.cast(step, "float32") * 1e-3

    optimizer = AdamW(Ramp(), gradient_accumulation_steps=4)
    trained(optimizer, 2)
    assert float(optimizer.learning_rate) == pytest.approx(8e-3)
    assert int(optimizer.iterations) == 2


@pytest.mark.trainable
@pytest.mark.parametrize("accumulation", [None, 2])
def test_gradients_that_are_not_finite_are_dropped(accumulation):
    weights = np.ones(TOKENS.shape, "float32")
    weights[3] = np.inf
    arguments = {"gradient_accumulation_steps": accumulation}
    model = trained(AdamW(0.01, drop_nonfinite=True, **arguments), 2, weights)
    # One batch of four, in each of two epochs.
    assert model.optimizer.dropped == 2
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
    assert np.abs(model.get_weights()[0] - lookup_and_product().get_weights()[0]).max() > 0
    undone = trained(AdamW(0.01, **arguments), 2, weights)
    assert undone.optimizer.dropped == 0
    assert not all(np.isfinite(weight).any() for weight in undone.get_weights())


def test_an_average_of_weights_is_refused_where_gradients_are_accumulated():
    message = "AdamW: use_ema must be False with gradient accumulation. Got use_ema True and .*steps 2."
    with pytest.raises(ValueError, match=message):
        AdamW(use_ema=True, gradient_accumulation_steps=2)


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("argument", "value"),
    [
        *(("learning_rate", value) for value in (-1e-3, True, "1e-3", float("nan"))),
        *(("weight_decay", value) for value in (-0.1, None, "0.1")),
        *(("beta_2", value) for value in (-0.1, 1.5, "0.9")),
        *(("global_clipnorm", value) for value in (0.0, -1.0, "1")),
        *(("dynamics_scale", value) for value in (-0.1, None, "0.1")),
        ("drop_nonfinite", "no"),
    ],
)
def test_numbers_that_are_none_are_refused(argument, value):
    with pytest.raises(ValueError, match=rf"^AdamW: {argument} must be .* Got {value!r}\.$"):
        AdamW(**{argument: value})
