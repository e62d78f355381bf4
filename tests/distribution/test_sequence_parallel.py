"""Whole models over divided time."""

import functools
import re
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_griffin.distribution import layout_map, sequence_parallel, time_along
from keras_griffin.distribution.sequence_parallel import SequenceParallel
from keras_griffin.mixers import MIXERS, mixer_names
from keras_griffin.models import Griffin, GriffinConfig, Hawk, LanguageModel, MQATransformer
from keras_griffin.testing.closeness import assert_close
from scripts.page_examples import check_output, examples_of, run_python
from tests.mixers.average import Average, config_of_average

if keras.backend.backend() != "jax":
    pytest.skip("JAX alone divides time", allow_module_level=True)

import jax
from jax.sharding import PartitionSpec

from tests.distribution.devices import collectives, mesh_of
from tests.distribution.devices import divided as over_devices

pytestmark = pytest.mark.slow
#: One block of each kind, and sizes that nothing divides. The window reaches over three of eight devices.
CONFIG = GriffinConfig(
    vocabulary_size=11,
    width=6,
    num_layers=2,
    num_heads=3,
    head_dim=4,
    window=10,
    mlp_width=7,
    recurrence_width=5,
    num_gate_blocks=1,
    block_pattern=("recurrent", "local_mqa"),
)
LENGTH = 32

# A document over all eight devices; several on one device, starting with it, and padding between, before and behind.
SEGMENTS = np.ones((2, LENGTH), "int32")
SEGMENTS[1] = np.repeat([0, 7, 2, 7, 3, 0, 4, 5, 0], [3, 5, 1, 2, 5, 3, 1, 9, 3])
TOKENS = np.random.default_rng(0).integers(0, 11, (2, LENGTH)).astype("int32")
TARGETS = np.roll(TOKENS, -1, axis=1)
WEIGHTS = (SEGMENTS > 0).astype("float32")
INPUTS = {"token_ids": TOKENS, "segment_ids": SEGMENTS}


@functools.cache
def weights():
    return [0.3 * np.random.default_rng(0).normal(size=w.shape) for w in Griffin(CONFIG).get_weights()]


def new_model(**kwargs):
    model = Griffin(CONFIG, **kwargs)
    model.set_weights(weights())
    return model


def compiled(model, length=LENGTH):
    """Logits, loss and gradients of packed rows, ready to run, and how they are called."""

    def loss(trainable, inputs, targets, sample_weight):
        logits, _ = model.stateless_call(trainable, [], inputs)
        return model.loss(targets, logits, sample_weight), logits

    def whole(x):
        return np.concatenate([x] * (length // LENGTH), axis=1)

    inputs = {name: whole(x) for name, x in INPUTS.items()}
    arguments = [v.value for v in model.trainable_variables], inputs, whole(TARGETS), whole(WEIGHTS)
    return jax.jit(jax.value_and_grad(loss, has_aux=True)).lower(*arguments).compile(), arguments


@functools.cache
def divided(devices, length=LENGTH):
    return compiled(sequence_parallel(new_model(), mesh_of(devices), axis_name="time"), length)


@functools.cache
def on_one_device():
    """Gradients by the variables' paths, and loss and logits."""
    model = new_model().packed()
    program, arguments = compiled(model)
    outputs, gradients = program(*arguments)
    return dict(zip([v.path for v in model.trainable_variables], gradients, strict=True)), outputs


@pytest.mark.parametrize("devices", [2, 4, 8])
def test_logits_loss_and_gradients_are_those_of_one_device(devices):
    gradients, (loss, logits) = on_one_device()
    model = sequence_parallel(new_model(), mesh_of(devices), axis_name="time")
    program, arguments = divided(devices)
    (got_loss, got_logits), got = program(*arguments)
    assert_close(got_loss, loss)
    assert_close(np.where(WEIGHTS[..., None], got_logits, 0), np.where(WEIGHTS[..., None], logits, 0))
    assert [v.path for v in model.trainable_variables] == list(gradients)
    for gradient, (name, wanted) in zip(got, gradients.items(), strict=True):
        # By its own largest number, so that a small gradient is judged as a large one is.
        largest = np.abs(wanted).max()
        assert largest > 1e-6, name
        assert_close(np.asarray(gradient) / largest, np.asarray(wanted) / largest)
    assert len(got_logits.sharding.device_set) == devices
    assert got_logits.addressable_shards[0].data.shape == (2, LENGTH // devices, 11)


def test_what_is_sent_does_not_grow_with_the_sequence():
    messages, twice = (collectives(divided(8, length)[0]) for length in (LENGTH, 2 * LENGTH))
    kinds = [kind for kind, _ in messages]
    # The convolution's steps forward and back, and resets; keys and values, from three devices, forward and back, and
    # their documents' numbers; and a segment id.
    assert kinds.count("collective-permute") == 2 + 1 + 2 * 3 + 3 + 1
    # Ends and products of the recurrence forward, ends of its gradient back, how many documents each device starts, and
    # its newest segment id.
    assert kinds.count("all-gather") == 4
    # The loss, and the gradients of the weights.
    assert set(kinds) == {"collective-permute", "all-gather", "all-reduce"}
    # With twice the steps on a device the window reaches over two.
    assert [kind for kind, _ in twice].count("collective-permute") == 2 + 1 + 2 * 2 + 2 + 1
    assert [m for m in messages if m[0] != "collective-permute"] == [m for m in twice if m[0] != "collective-permute"]
    assert sent_by_permutes(messages) == sent_by_permutes(twice)


def sent_by_permutes(messages):
    """The numbers in all of them."""
    shapes = [shape.split("[")[1].split("]")[0] for kind, shape in messages if kind == "collective-permute"]
    return sum(np.prod([int(size) for size in shape.split(",")]) for shape in shapes)


def test_a_device_needs_less_memory_the_more_there_are():
    few, more, most = (divided(devices)[0].memory_analysis().temp_size_in_bytes for devices in (2, 4, 8))
    assert few > more > most


def test_fit_without_logits_and_with_blocks_computed_again_over_rows_too():
    """A step of plain gradient descent subtracts the gradients of one device."""
    gradients, (loss, _) = on_one_device()
    model = new_model(rematerialize=True)
    mesh = keras.distribution.DeviceMesh((2, 4), ("rows", "steps"))
    parallel = sequence_parallel(model, mesh, axis_name="steps", batch_axis_name="rows", logits=False)
    parallel.compile(keras.optimizers.SGD(1.0))
    history = parallel.fit(INPUTS, TARGETS, sample_weight=WEIGHTS, batch_size=2, epochs=1, verbose=0).history
    assert_close(np.float32(history["loss"][0]), loss)
    assert_close(np.float32(history["bits"][0]), loss / np.log(2))
    for before, variable in zip(weights(), model.trainable_variables, strict=True):
        assert_close(variable.value, before - gradients[variable.path])
    # The weights lie on all devices now, and the model goes on with them.
    assert model.generate(TOKENS[:, :3], 2).shape == (2, 5)


@pytest.fixture(scope="module")
def over_eight():
    return sequence_parallel(new_model(), mesh_of(8), axis_name="time")


def test_padding_inside_of_a_document_is_refused_or_makes_nan(over_eight):
    interrupted = SEGMENTS.copy()
    # Over several devices, and within one.
    interrupted[0, 5:17], interrupted[1, 5] = 0, 0
    sentence = "padding must be between documents, not inside one. Got segment id 1 on both sides of padding"
    with pytest.raises(ValueError, match=f"^sequence_parallel: {sentence} in row 0.$"):
        over_eight({"token_ids": TOKENS, "segment_ids": interrupted})
    logits = over_eight({"token_ids": TOKENS, "segment_ids": jax.numpy.asarray(interrupted)})
    assert np.argwhere(np.isnan(logits).any(axis=-1)).tolist() == [[0, 17], [1, 6]]
    # Two documents of one id, and the same id again after another.
    assert np.isfinite(over_eight(INPUTS)).all()


def test_sizes_that_the_devices_do_not_divide_are_refused():
    mesh = keras.distribution.DeviceMesh((2, 4), ("rows", "steps"))
    parallel = sequence_parallel(new_model(), mesh, axis_name="steps", batch_axis_name="rows")
    with pytest.raises(ValueError, match="^sequence_parallel: the 4 devices .* 'steps' must divide the steps. Got 30 "):
        parallel(TOKENS[:, :30])
    with pytest.raises(ValueError, match="^sequence_parallel: the 2 devices .* 'rows' must divide the rows. Got 1 "):
        parallel(TOKENS[:1])
    assert tuple(parallel(keras.Input((None,), dtype="int32")).shape) == (None, None, 11)


def test_a_mixer_of_ones_own_is_divided_in_time_and_over_a_mesh(monkeypatch):
    monkeypatch.setitem(MIXERS, "average", Average)
    config = config_of_average().replace(num_heads=4)
    alone = Griffin(config)
    wanted = np.where(WEIGHTS[..., None], alone.packed()(INPUTS), 0)
    parallel = sequence_parallel(alone, mesh_of(8), axis_name="time")
    assert_close(np.where(WEIGHTS[..., None], parallel(INPUTS), 0), wanted)
    loss = alone.packed().evaluate(INPUTS, TARGETS, sample_weight=WEIGHTS, verbose=0)
    mesh = keras.distribution.DeviceMesh((2, 4), ("batch", "model"))
    with keras.distribution.ModelParallel(layout_map=layout_map(config, mesh)).scope():
        model = Griffin(config)
        model.set_weights(alone.get_weights())
        got = model.packed().fit(INPUTS, TARGETS, sample_weight=WEIGHTS, batch_size=2, verbose=0).history["loss"][0]
        assert len(model.blocks[0].mixer.strength.value.sharding.device_set) == 8
        # A distribution lays out whole tensors; inside of divided time each device has its own part.
        again = Griffin(config)
        again.set_weights(alone.get_weights())
        under = jax.jit(sequence_parallel(again, mesh_of(8), axis_name="time"))(INPUTS)
        assert model.blocks[0].mixer.strength.value.addressable_shards[0].data.shape == (4,)
    assert_close(np.float32(got), np.float32(loss))
    assert_close(np.where(WEIGHTS[..., None], under, 0), wanted)


def test_the_examples_of_the_guide_run():
    guide = Path(__file__).resolve().parents[2] / "docs/guides/long_context.md"
    examples, names = examples_of(guide), {}
    for _, example, shown in examples:
        check_output(shown, run_python(example, guide.name, names))
    assert len(examples) == 3
    assert len(names["devices"]) == 8 and tuple(names["states"].shape) == (1, 64, 4)


def refusal(*arguments, **options):
    with pytest.raises(ValueError) as error:
        sequence_parallel(*arguments, **options)
    return str(error.value)


def test_a_model_that_cannot_be_divided_is_refused():
    assert refusal(MQATransformer(CONFIG)) == (
        "sequence_parallel: every mixer must state by `reach_of`, defined with its `call` or `advance`, "
        "how many steps it looks back. Got GlobalMQA in block_0, which does not."
    )
    assert refusal("griffin") == "sequence_parallel: model must be a LanguageModel. Got 'griffin'."


@pytest.mark.parametrize("name", mixer_names())
def test_every_mixer_is_divided_or_refused(name):
    options = {name: {"max_length": 16}} if name == "hyena" else {}
    config = CONFIG.replace(width=12, recurrence_width=12, block_pattern=(name,), mixer_options=options)
    kind, arguments = config.mixer_class(name), config.mixer_arguments(name)
    if kind.divisible_reach_of(**arguments) is None:
        assert f"Got {kind.__name__} in block_0" in refusal(LanguageModel(config))
        return
    mixer = kind(**arguments)
    mixer.build((None, None, 12))
    generator = np.random.default_rng(0)
    for weight in mixer.weights:
        weight.assign(np.asarray(weight) + 0.3 * generator.normal(size=weight.shape))
    inputs, reset = generator.normal(size=(2, 16, 12)).astype("float32"), SEGMENTS[:, :16] != SEGMENTS[:, 1:17]

    def on_each(inputs, reset):
        with time_along("time"):
            return mixer(inputs, reset=reset)

    steps = PartitionSpec(None, "time")
    outputs = over_devices(on_each, 4, (steps, steps), steps)(inputs, reset)
    assert_close(outputs, np.asarray(jax.jit(lambda x, new: mixer(x, reset=new))(inputs, reset)))


def test_a_mesh_without_the_axes_is_refused():
    mesh = keras.distribution.DeviceMesh((1, 1), ("batch", "model"), keras.distribution.list_devices()[:1])
    sentence = "sequence_parallel: axis_name and batch_axis_name must be two axes of the mesh. Got "
    with_mesh = ", and a mesh with 'batch', 'model'."
    assert refusal(Hawk(CONFIG), mesh) == f"{sentence}'sequence'{with_mesh}"
    for axes in ({"batch_axis_name": "rows"}, {"batch_axis_name": "batch"}):
        assert refusal(Hawk(CONFIG), mesh, axis_name="batch", **axes) == (
            f"{sentence}'batch' and {axes['batch_axis_name']!r}{with_mesh}"
        )
    got = refusal(Hawk(CONFIG), 8)
    assert got == "sequence_parallel: device_mesh must be a keras.distribution.DeviceMesh. Got 8."


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        (TOKENS + 5, "token ids must be from 0 to 10. Got ids from 5 to 15."),
        ({**INPUTS, "segment_ids": SEGMENTS - 1}, "segment_ids must be at least 0. Got -1."),
    ],
)
def test_ids_that_are_known_to_be_wrong_are_refused(over_eight, inputs, sentence):
    with pytest.raises(ValueError, match=re.escape(f"sequence_parallel: {sentence}")):
        over_eight(inputs)


def test_it_shares_the_weights_and_is_compiled_as_the_model_is():
    model = Hawk(CONFIG)
    model.compile(keras.optimizers.SGD(0.5), loss=model.loss)
    parallel = sequence_parallel(model)
    assert isinstance(parallel, SequenceParallel)
    assert parallel.trainable_variables == model.trainable_variables
    assert parallel.loss is model.loss
    assert float(parallel.optimizer.learning_rate) == 0.5 and parallel.optimizer is not model.optimizer
    assert_close(parallel(TOKENS), model(TOKENS))
