import re

import keras
import numpy as np
import pytest

from keras_griffin.distribution import layout_map
from keras_griffin.models import Griffin, Hawk, MQATransformer
from tests.distribution.processes import EIGHT_DEVICES, answers_of
from tests.distribution.tiny import CONFIG, model

BACKEND = keras.backend.backend()
on_jax = pytest.mark.skipif(BACKEND != "jax", reason="Keras's distribution is JAX's alone")


def mesh(shape=(2, 4), names=("batch", "model")):
    """A mesh of devices that need not be there: no tensor is laid out."""
    return keras.distribution.DeviceMesh(shape, list(names), [f"cpu:{i}" for i in range(int(np.prod(shape)))])


def axes_of(layouts, path):
    keys = [key for key in layouts if re.fullmatch(key, path)]
    assert len(keys) == 1, f"{path} has {keys}"
    return layouts[path].axes


@on_jax
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


@on_jax
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


@on_jax
def test_what_an_axis_does_not_divide_stays_whole_along_it():
    layouts = layout_map(CONFIG.replace(vocabulary_size=33, width=18), mesh())
    assert axes_of(layouts, "token_embedding/embeddings") == (None, "batch")
    layouts = layout_map(CONFIG.replace(vocabulary_size=33, width=18), mesh((4, 2)))
    assert axes_of(layouts, "token_embedding/embeddings") == (None, None)


@on_jax
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


@on_jax
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


@pytest.mark.skipif(BACKEND == "jax", reason="JAX has Keras's distribution")
def test_another_backend_is_refused():
    sentence = f"layout_map: the backend must be jax, the only one with Keras's distribution. Got {BACKEND}."
    with pytest.raises(ValueError) as error:
        layout_map(CONFIG, mesh())
    assert str(error.value) == sentence


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Of JAX on eight simulated devices."""
    return answers_of("on_eight_devices", [tmp_path_factory.mktemp("eight")], environment=EIGHT_DEVICES)[0]


@on_jax
@pytest.mark.parametrize(
    "name", ["DataParallel (8,)", "ModelParallel (2, 4)", "ModelParallel (4, 2)", "ModelParallel (1, 8)"]
)
@pytest.mark.slow
def test_fit_on_eight_devices_has_the_losses_of_one(answers, name):
    np.testing.assert_allclose(answers["losses"][name], answers["losses"]["one device"], rtol=0, atol=1e-5)
    assert answers["losses"]["one device"][1] < answers["losses"]["one device"][0]


@on_jax
def test_packed_rows_on_eight_devices_have_the_losses_of_one(answers):
    losses = answers["losses"]
    np.testing.assert_allclose(losses["packed, ModelParallel (2, 4)"], losses["packed, one device"], rtol=0, atol=1e-5)


@on_jax
def test_what_is_sent_over_the_models_axis(answers):
    """The whole program of a training step with the axis of 8 parts: what each block sends, forward and backward."""
    sent = answers["collectives"]["(1, 8)"]
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


@on_jax
def test_a_divided_model_generates_as_one_device_does(answers):
    assert answers["tokens"]["ModelParallel (2, 4)"] == answers["tokens"]["one device"]


@on_jax
def test_a_divided_model_is_saved_and_loaded(answers):
    assert answers["reloaded"] == {
        "places": True,
        "numbers": True,
        "numbers on one device": True,
        "devices": [8],
    }
