"""Every argument of every layer, every mixer and the config: wrong types and wrong values are refused in a sentence."""

import inspect
import math
import re

import keras
import numpy as np
import pytest

from keras_griffin import layers, mixers
from keras_griffin.layers.both_directions import BothDirections
from keras_griffin.models import GriffinConfig, SequenceEncoder
from keras_griffin.models.presets import presets

pytestmark = pytest.mark.any_backend

NO_NUMBER = ["1", None, [1], np.ones(1), math.nan, True, 1j]
NO_POSITIVE = [*NO_NUMBER, 0, -1.0, math.inf, 10**400]
NO_FRACTION = [*NO_NUMBER, -0.1, 1.1, math.inf]
NO_COUNT = [*NO_NUMBER, 0, -1, 2.5, 2.0, np.float32(2), math.inf]
NO_NAME = ["papre", "dense ", None, 1, True, ["paper"], np.array(["paper"])]
NO_RANGE = [None, 0.9, (0.9,), (0.999, 0.9), ("0.9", "0.99"), (0.9, math.nan), "ab"]
NO_OPTIONS = [3, "lru", [1]]

#: What each argument of a constructor must not be, by its name or its type.
WRONG = {
    **dict.fromkeys(("rotary_fraction", "dropout"), NO_FRACTION),
    "decay_range": [*NO_RANGE, (0.9, 1.0), (0.0, 0.9), (0.9, 1.2)],
    "ring": [*NO_RANGE, (0.5, 1.1), (-0.1, 0.5)],
    "step_range": [*NO_RANGE, (0.0, 0.1), (0.1, math.inf)],
    "block_pattern": [(), "recurrent", None, 3, ["recurrent", "lstm"], [["recurrent"]], {"recurrent"}, [None]],
    "initializer": [3, "zeros", [1]],
    "unit_options": [*NO_OPTIONS, {1: 2}],
    "mixer_options": [*NO_OPTIONS, None, {"recurrent": 3}, {"recurrent": None}],
    layers.SequenceLayer: [None, "recurrent", keras.layers.Dense(4), mixers.RecurrentBlock],
    **{int: NO_COUNT, float: NO_POSITIVE, str: NO_NAME, bool: [0, 1, "False", None, [True]]},
}
#: A block may have no MLP, layers are counted from 0, and a norm may do without an epsilon.
MAY_BE_ZERO = {
    *((layers.ResidualBlock, "hidden_width"), (layers.CGLRU, "maximum_phase")),
    *((kind, "mlp_width") for kind in (GriffinConfig, SequenceEncoder)),
    *((kind, "layer") for kind in (mixers.RWKV4, mixers.RWKV4Channel)),
    *((kind, "epsilon") for kind in (mixers.LinearAttention, mixers.Retention, mixers.GatedLinearAttention)),
}
#: Keras's own, and what Keras checks.
OF_KERAS = {"self", "kwargs", "name", "dtype", "trainable", "quantization_config", "seed"}
#: What else is needed to make one.
MAKERS = {
    layers.BlockDiagonalDense: {"num_blocks": 2},
    BothDirections: {name: mixers.RecurrentBlock(4) for name in ("forward_layer", "backward_layer")},
    layers.DecayInitializer: {},
    **dict.fromkeys((*layers.UNITS.values(), *mixers.MIXERS.values()), {}),
    layers.GatedMLP: {"hidden_width": 4},
    layers.RGLRUCell: {"units": 4},
    layers.RMSNorm: {},
    layers.ResidualBlock: {"mixer": mixers.RecurrentBlock(4), "hidden_width": 4},
    layers.TemporalConv1D: {},
    layers.TokenEmbedding: {"vocabulary_size": 4, "width": 4},
    layers.projection: {"units": 4},
    **dict.fromkeys((mixers.GatedDeltaNet, mixers.GlobalMQA), {"num_heads": 2}),
    mixers.LocalMQA: {"num_heads": 2, "window": 3},
    mixers.RecurrentBlock: {"recurrence_width": 4},
    mixers.SparseMQA: {"num_heads": 2},
    mixers.UnitBlock: {"unit": "lru"},
    SequenceEncoder: {"width": 8},
    GriffinConfig: {"vocabulary_size": 11, "width": 48, "num_layers": 5, "num_heads": 3},
}


def arguments():
    """Each maker with each of its own arguments."""
    for maker in MAKERS:
        # `GlobalMQA` takes those of the class above it.
        for name, parameter in inspect.signature(maker).parameters.items():
            if name not in OF_KERAS and parameter.kind is not parameter.VAR_KEYWORD:
                yield pytest.param(maker, name, parameter, id=f"{maker.__name__}-{name}")


@pytest.mark.parametrize(("maker", "name", "parameter"), list(arguments()))
def test_an_argument_of_a_wrong_type_or_value_is_refused(maker, name, parameter):
    # Of `int | None` the first.
    kind, *others = getattr(parameter.annotation, "__args__", (parameter.annotation,))
    for value in WRONG.get(name) or WRONG[kind]:
        if value is None and (parameter.default is None or type(None) in others):
            continue
        if value == 0 and type(value) is int and (maker, name) in MAY_BE_ZERO:
            continue
        with pytest.raises(ValueError) as refused:
            maker(**{**MAKERS[maker], name: value})
        received = rf"Got ({name} )?{re.escape(repr(value))}(\.|; did you mean .+\?)"
        sentence = rf"{maker.__name__}: {name} must be [^\n]+\. {received}"
        assert re.fullmatch(sentence, str(refused.value)), str(refused.value)


def test_every_public_layer_and_mixer_is_checked():
    public = [getattr(package, name) for package in (layers, mixers) for name in package.__all__]
    kinds = {kind for kind in public if isinstance(kind, type) and issubclass(kind, keras.layers.Layer)}
    without_arguments_of_their_own = {layers.SequenceLayer, layers.Mixer, layers.RecurrentUnit}
    assert kinds - without_arguments_of_their_own <= set(MAKERS)


def test_numpys_numbers_are_accepted_and_become_plain():
    config = GriffinConfig(
        *(np.int64(11), np.int32(48), np.uint8(5), np.int16(3)),
        block_pattern=["recurrent", np.str_("local_mqa")],
        rotary_base=np.float32(100),
        scale_embeddings=np.True_,
        norm_epsilon=np.float64(1e-5),
    )
    expected = GriffinConfig(11, 48, 5, 3, block_pattern=("recurrent", "local_mqa"), rotary_base=100.0)
    expected = expected.replace(scale_embeddings=True, norm_epsilon=1e-5)
    assert config == expected and repr(config) == repr(expected)
    made = layers.RGLRU(num_gate_blocks=np.int64(2), exponent=np.float32(4), decay_range=[np.float32(0.5), 0.9])
    values = made.num_gate_blocks, made.exponent, made.decay_range, made.get_config()["decay_range"]
    assert repr(values) == "(2, 4.0, (0.5, 0.9), (0.5, 0.9))"
    made = mixers.LocalMQA(np.int64(3), window=np.int32(2), rotary_fraction=np.float32(0.5), rotary_base=10000)
    assert repr((made.num_heads, made.window, made.rotary_fraction, made.rotary_base)) == "(3, 2, 0.5, 10000)"
    assert layers.TokenEmbedding(np.int64(4), np.int64(4), logits_soft_cap=np.float16(2)).soft_cap == 2.0


def test_presets_obey():
    assert all(config.replace(window=np.int64(7)).window == 7 for config in presets().values())
