import functools
import re

import keras
import numpy as np
import pytest

if keras.backend.backend() != "jax":
    pytest.skip("Keras's distribution is JAX's alone", allow_module_level=True)

import jax

from keras_griffin.distribution import layout_map
from keras_griffin.models import Griffin, Hawk, MQATransformer
from tests.distribution.tiny import CONFIG, losses, model, packed, windows

#: A collective of a compiled program: its result's type and its kind.
COLLECTIVE = re.compile(r"= (.+?) (all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(?:-start)?\(")


def mesh(shape=(2, 4), names=("batch", "model")):
    """A mesh of devices that need not be there: no tensor is laid out."""
    return keras.distribution.DeviceMesh(shape, list(names), [f"cpu:{i}" for i in range(int(np.prod(shape)))])


def axes_of(layouts, path):
    keys = [key for key in layouts if re.fullmatch(key, path)]
    assert len(keys) == 1, f"{path} has {keys}"
    return layouts[path].axes


@pytest.mark.parametrize("kind", [Griffin, Hawk, MQATransformer])
@pytest.mark.parametrize("shape", [(2, 4), (8, 1), (1, 8)])
def test_every_variable_has_one_key_and_can_be_laid_out(kind, shape):
    made = model(kind)
    layouts = layout_map(made, mesh(shape))
    parts = {None: 1, "batch": shape[0], "model": shape[1]}
    for variable in [*made.weights, *made.packed().weights]:
        for path in (variable.path, f"inside/{variable.path}"):
            axes = axes_of(layouts, path)
            assert len(axes) == len(variable.shape)
            assert all(size % parts[axis] == 0 for size, axis in zip(variable.shape, axes, strict=True)), path


def test_the_layout_of_each_kind_of_parameter():
    layouts = layout_map(CONFIG, mesh())
    expected = {
        "token_embedding/embeddings": ("model", "batch"),
        "final_norm/scale": (None,),
        "block_0/mixer_norm/scale": (None,),
        "block_0/mlp/gate/kernel": ("batch", "model"),
        "block_0/mlp/up/bias": ("model",),
        "block_0/mlp/down/kernel": ("model", "batch"),
        "block_0/mlp/down/bias": (None,),
        "block_0/mixer/gate/kernel": ("batch", "model"),
        "block_0/mixer/input_projection/bias": ("model",),
        "block_0/mixer/conv/kernel": (None, "model"),
        "block_0/mixer/conv/bias": ("model",),
        "block_0/mixer/rg_lru/decay_parameter": ("model",),
        "block_0/mixer/rg_lru/input_gate/blocks/kernel": ("model", "batch", None),
        "block_0/mixer/rg_lru/recurrence_gate/blocks/bias": ("model", None, None),
        "block_0/mixer/output_projection/kernel": ("model", "batch"),
        "block_1/mixer/query/kernel": ("batch", "model"),
        "block_1/mixer/key/kernel": (None, None),
        "block_1/mixer/output_projection/bias": (None,),
        "block_1/residual": ("batch", None, None),
        "token_embedding/table": ("model", None),
    }
    assert {path: axes_of(layouts, path) for path in expected} == expected


def test_what_an_axis_does_not_divide_stays_whole_along_it():
    layouts = layout_map(CONFIG.replace(vocabulary_size=33, width=18), mesh())
    assert axes_of(layouts, "token_embedding/embeddings") == (None, "batch")
    layouts = layout_map(CONFIG.replace(vocabulary_size=33, width=18), mesh((4, 2)))
    assert axes_of(layouts, "token_embedding/embeddings") == (None, None)


@pytest.mark.parametrize(
    ("config", "parts", "sentence"),
    [
        (
            CONFIG.replace(num_heads=6, num_gate_blocks=16),
            4,
            "the mesh's axis model must divide mlp_width and num_gate_blocks and num_heads. "
            "Got an axis of 4 and num_heads 6; possible are 1, 2.",
        ),
        (
            CONFIG.replace(num_gate_blocks=2, block_pattern=("recurrent",), num_heads=3),
            8,
            "the mesh's axis model must divide mlp_width and num_gate_blocks. "
            "Got an axis of 8 and num_gate_blocks 2; possible are 1, 2.",
        ),
        (
            CONFIG.replace(mlp_width=20, block_pattern=("global_mqa",), num_gate_blocks=1),
            8,
            "the mesh's axis model must divide mlp_width and num_heads. "
            "Got an axis of 8 and mlp_width 20; possible are 1, 2, 4.",
        ),
    ],
)
def test_a_model_that_cannot_be_split_so_is_refused(config, parts, sentence):
    with pytest.raises(ValueError) as error:
        layout_map(config, mesh((1, parts)))
    assert str(error.value) == f"layout_map: {sentence}"


@pytest.mark.parametrize("names", [("batch", "heads"), ("rows", "model")])
def test_a_mesh_without_an_axis_is_refused(names):
    with pytest.raises(ValueError) as error:
        layout_map(CONFIG, mesh(names=names))
    assert str(error.value) == (
        f"layout_map: the mesh must have an axis named model and one named batch or data. Got {names[0]}, {names[1]}."
    )


def test_a_model_without_a_config_is_refused():
    with pytest.raises(ValueError, match="^layout_map: model must be a GriffinConfig or a LanguageModel. Got 3.$"):
        layout_map(3, mesh())


def distribution_of(shape):
    """Of data over a mesh of one axis, or of a model over one of two; None for one device."""
    if shape is None:
        return None
    if len(shape) == 1:
        return keras.distribution.DataParallel()
    devices = keras.distribution.DeviceMesh(shape, ["batch", "model"])
    return keras.distribution.ModelParallel(layout_map=layout_map(CONFIG, devices, fully_sharded=shape != (1, 8)))


@functools.cache
def trained(shape, is_packed=False):
    """A model, the losses of its `fit`, and the program that `fit` ran for each batch."""
    keras.distribution.set_distribution(distribution_of(shape))
    made, programs = model().packed() if is_packed else model(), []

    def train_function(state, iterator):
        batch = next(iterator)
        if not programs:
            # As Keras compiles it, in two steps, so that the program can be read.
            shardings = None if shape is None else (None, jax.tree.map(lambda x: x.sharding, state))
            step = jax.jit(made.train_step, donate_argnums=0, out_shardings=shardings)
            programs.append(step.lower(state, batch).compile())
        return programs[0](state, batch)

    made.train_function = train_function
    return made, losses(made, packed() if is_packed else windows()), programs[0].as_text()


@pytest.mark.parametrize(
    ("shape", "is_packed"), [((8,), False), ((2, 4), False), ((4, 2), False), ((1, 8), False), ((2, 4), True)]
)
@pytest.mark.slow
def test_fit_on_eight_devices_has_the_losses_of_one(shape, is_packed):
    (_, expected, _), (_, found, _) = (trained(each, is_packed) for each in (None, shape))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert expected[1] < expected[0]


def collectives(program):
    """Of every collective: its kind, its result's type, and from which operation of the model it came."""
    for line in program.splitlines():
        match = COLLECTIVE.search(line)
        if match:
            origin = re.search(r'op_name="([^"]*)"', line)
            yield match[2], match[1], origin[1] if origin else ""


def test_what_is_sent_over_the_models_axis():
    """The whole program of a training step with the axis of 8 parts: what each block sends, forward and backward."""
    sent = list(collectives(trained((1, 8))[2]))
    assert {kind for kind, *_ in sent} == {"all-reduce"}
    rows = 8 * 40
    vectors = f"f32[{rows},16]{{1,0}}"

    def of(direction, part):
        return [
            # Not every version of JAX says that the sum stands in `norm`.
            (result.replace(vectors, "vectors"), re.split("/(?:mixer|mlp)/(?:jit\\(norm\\)/)?", origin)[-1])
            for _, result, origin in sent
            if f"{direction}/{part}/" in origin
        ]

    for block in (0, 1):
        # Forward: each mixer and each MLP ends with one sum of vectors of the residual stream.
        ends = [("vectors", "output_projection/dot_general")]
        # Attention also agrees on which steps are finite: a number for each token.
        finite = [("f32[8,40]{1,0}", "reduce_sum")] if block == 1 else []
        assert of(f"jit(train_step)/jvp(block_{block})", "mixer") == finite + ends
        assert of(f"jit(train_step)/jvp(block_{block})", "mlp") == [("vectors", "down/dot_general")]
        # Backward: one again. On a CPU XLA sends the gradients of both projections, not yet added up, at once.
        ((both, origin),) = of(f"transpose(jvp(block_{block}))", "mlp")
        # JAX 0.8 names one of the two.
        assert both == "(vectors, vectors)" and "up/dot_general" in origin
    # The recurrent block's two come with small sums for the clipping of gradients.
    ((recurrent, _),) = of("transpose(jvp(block_0))", "mixer")
    assert recurrent.startswith("(vectors, vectors, f32[]")
    # Beside it, one key head serves all: its gradient, and its value's, are sums over the query heads.
    agreed, (attention, _) = of("transpose(jvp(block_1))", "mixer")
    # And it agrees on which of the outputs' gradients are finite.
    assert [agreed] == finite
    assert attention.count("vectors") == 1 and attention.count("f32") == 2


def test_convolution_gates_and_recurrence_send_nothing():
    """Compiled alone, with their gradients, the channels divided in eight."""
    distribution = distribution_of((1, 8))
    keras.distribution.set_distribution(distribution)
    mixer = model().blocks[0].mixer
    variables = [*mixer.conv.trainable_variables, *mixer.rg_lru.trainable_variables]
    by_channel = keras.distribution.TensorLayout((None, None, "model"), distribution.device_mesh).backend_layout
    sequence = jax.device_put(np.random.default_rng(0).normal(size=(4, 24, 32)).astype("float32"), by_channel)
    reset = np.random.default_rng(3).random((4, 24)) < 0.2

    def outputs(values, inputs):
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            x, _ = mixer.conv.advance(inputs, mixer.conv.initial_state(4), reset=reset)
            return mixer.rg_lru.advance(x, mixer.rg_lru.initial_state(4), reset=reset)[0]

    def step(values, inputs):
        made, pull = jax.vjp(outputs, values, inputs)
        return made, pull(made)

    program = jax.jit(step).lower([variable.value for variable in variables], sequence).compile()
    assert not list(collectives(program.as_text()))


def test_a_divided_model_generates_as_one_device_does():
    prompt = windows()[0][:3, :5]
    expected = trained(None)[0].generate(prompt, 6)
    keras.distribution.set_distribution(distribution_of((2, 4)))
    np.testing.assert_array_equal(trained((2, 4))[0].generate(prompt, 6), expected)


def test_a_divided_model_is_saved_and_loaded(tmp_path):
    """As it was, with the numbers in their places; the optimizer's slots have those of their parameters."""
    made, path = trained((2, 4))[0], tmp_path / "model.keras"
    specs = {f"adamw/{v.path.replace('/', '_')}": v.value.sharding.spec for v in made.trainable_variables}
    slots = {
        v.path: v.value.sharding.spec for v in made.optimizer.variables if v.path.endswith(("_momentum", "_velocity"))
    }
    assert slots == {f"{path}_{slot}": spec for path, spec in specs.items() for slot in ("momentum", "velocity")}
    made.save(path)
    for distribution, devices in ((distribution_of((2, 4)), 8), (None, 1)):
        keras.distribution.set_distribution(distribution)
        again = keras.saving.load_model(path)
        pairs = zip(made.variables + made.optimizer.variables, again.variables + again.optimizer.variables, strict=True)
        for one, other in pairs:
            np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
            assert len(other.value.sharding.device_set) == devices
            assert distribution is None or one.value.sharding == other.value.sharding
