"""What Griffin can do, one model can do that has every mixer in its pattern."""

import random

import keras
import numpy as np
import pytest

from keras_griffin.generation import load_state, save_state
from keras_griffin.inspection import cache_bytes
from keras_griffin.mixers import mixer_names
from keras_griffin.models import GriffinConfig, LanguageModel
from keras_griffin.testing import check_no_leak
from keras_griffin.testing.arrays import as_array
from keras_griffin.testing.closeness import assert_close
from keras_griffin.testing.compiled import compiled
from tests.models.tiny import strong

#: All but global and sparse attention, whose states grow.
NAMES = tuple(name for name in mixer_names() if name not in ("global_mqa", "sparse_mqa"))
CONFIG = GriffinConfig(13, 16, len(NAMES), 2, mlp_width=4, window=5, num_gate_blocks=4, block_pattern=NAMES)
TOKENS = np.random.default_rng(0).integers(1, 13, (2, 12)).astype("int32")
TARGETS = np.roll(TOKENS, -1, axis=1)


_GATES = " ".join(f"{{0}}/{gate}_gate/blocks/{part}" for gate in ("recurrence", "input") for part in ("kernel", "bias"))
_ATTENTION = "query key value output_projection+ | | |"
_LSTM_GATES = "forget_gate", "input_gate", "output_gate", "candidate"
_OF_LS_LSTM = " ".join(f"ls_lstm/{gate}_of_surrogate ls_lstm/{gate}_of_input+" for gate in _LSTM_GATES)
#: The variables of each mixer: its projections, + for those with a bias, of which the kernels decay and are quantised
#: and adapted; other variables that decay; the dynamics; and all others, which are spared like the biases. Kernels of
#: blocks are quantised too.
SETS = {
    "recurrent": "gate+ input_projection+ output_projection+ | conv/kernel | "
    f"| conv/bias rg_lru/decay_parameter {_GATES.format('rg_lru')}",
    "local_mqa": _ATTENTION,
    "global_mqa": _ATTENTION,
    "sparse_mqa": _ATTENTION,
    "mamba": "input_projection gate output_projection ssm/selection ssm/step+ | conv/kernel | ssm/dynamics/log_rates "
    "| conv/bias ssm/feedthrough",
    "h3": "query+ key+ value+ output_projection+ | shift output_weights "
    "| dynamics/log_rates dynamics/frequencies dynamics/log_steps | feedthrough",
    "hyena": "input_projection+ output_projection+ | conv/kernel | | conv/bias skip filter/frequency "
    + " ".join(f"filter/kernel_{index}" for index in range(4))
    + " "
    + " ".join(f"filter/bias_{index}" for index in range(3)),
    "mamba2": "input_projection key query gate step output_projection | conv_kernel "
    "| dynamics/log_rates dynamics/step_bias | conv_bias feedthrough scale",
    "mlstm": "input_projection gate input_gate+ forget_gate+ output_projection | query/blocks/kernel key/blocks/kernel "
    "value/blocks/kernel conv_kernel | | conv_bias scale skip",
    "aft": "query key value output_projection | | |",
    "rwkv4": "key value receptance output_projection | | | mix_key mix_value mix_receptance log_rate first",
    "gated_delta_net": "query key value gate rate step output_projection | conv_kernel "
    "| dynamics/log_rates dynamics/step_bias | norm_scale",
    "rwkv4_channel": "key value receptance | | | mix_key mix_receptance",
    "linear_attention": "query key value output_projection | | |",
    "retention": "query key value gate output_projection | | |",
    "gate_loop": "query key value gate size+ phase+ output_projection | | |",
    "gated_linear_attention": "query key value gate to_rank decay+ output_projection | | |",
    "rg_lru": f"output_projection+ | | | rg_lru/decay_parameter {_GATES.format('rg_lru')}",
    "cg_lru": f"output_projection+ | | | cg_lru/decay_parameter cg_lru/phase {_GATES.format('cg_lru')}",
    "qrnn": "qrnn/candidate+ qrnn/forget_gate+ qrnn/output_gate+ output_projection+ | | |",
    "gilr": "gilr/forget_gate+ gilr/impulse+ output_projection+ | | |",
    "ls_lstm": f"ls_lstm/surrogate/forget_gate+ ls_lstm/surrogate/impulse+ output_projection+ {_OF_LS_LSTM} | | |",
    "min_gru": "min_gru/update_gate+ min_gru/candidate+ output_projection+ | | |",
    "min_lstm": "min_lstm/forget_gate+ min_lstm/input_gate+ min_lstm/candidate+ output_projection+ | | |",
    "lru": "lru/input_projection lru/output_projection output_projection+ gate+ | | lru/nu lru/theta lru/gamma "
    "| lru/feedthrough",
    "s5": "s5/input_projection s5/output_projection output_projection+ gate+ | | s5/log_rate s5/frequency s5/log_step "
    "| s5/feedthrough",
    "s4": "output_projection+ gate+ | s4/output_weights "
    "| s4/dynamics/log_rates s4/dynamics/frequencies s4/dynamics/log_steps s4/dynamics/low_rank "
    "s4/dynamics/input_weights | s4/feedthrough",
    "s4d": "output_projection+ gate+ | s4d/output_weights "
    "| s4d/dynamics/log_rates s4d/dynamics/frequencies s4d/dynamics/log_steps | s4d/feedthrough",
    "selective_ssm": "selective_ssm/selection selective_ssm/step+ output_projection+ | "
    "| selective_ssm/dynamics/log_rates | selective_ssm/feedthrough",
}


@pytest.mark.any_backend
# What Keras says of its quantised product on NumPy.
@pytest.mark.filterwarnings("ignore:.*`custom_gradient` for the numpy:UserWarning")
@pytest.mark.parametrize("name", mixer_names())
def test_exactly_these_variables_decay_are_trained_quantised_and_adapted(name):
    config = GriffinConfig(7, 8, 1, 2, mlp_width=4, num_gate_blocks=2, block_pattern=(name,))
    projections, decayed, dynamics, spared = (
        [f"block_0/mixer/{variable}" for variable in names.split()] for names in SETS[name].split("|")
    )
    projections += [f"block_0/mlp/{part}+" for part in ("gate", "up", "down")]
    kernels = {f"{projection.removesuffix('+')}/kernel" for projection in projections}
    biases = {f"{projection[:-1]}/bias" for projection in projections if projection.endswith("+")}
    around = {"token_embedding/embeddings", "block_0/mixer_norm/scale", "block_0/mlp_norm/scale", "final_norm/scale"}
    model = LanguageModel(config)
    groups = {group: {each.path for each in members} for group, members in model.optimizer_groups().items()}
    expected = {"decay": kernels | {*decayed}, "no_decay": biases | around | {*spared}, "dynamics": {*dynamics}}
    assert groups == expected and not model.non_trainable_variables
    assert {each.path for each in model.weights} == set().union(*expected.values())
    model.enable_lora(2)
    adapters = {f"{kernel.removesuffix('kernel')}lora_kernel_{part}" for kernel in kernels for part in "ab"}
    assert {*model.lora.variables} == adapters == {each.path for each in model.trainable_variables}
    quantized = LanguageModel(config)
    quantized.quantize("int8")
    blocks = {variable for variable in (*spared, *decayed) if variable.endswith("blocks/kernel")}
    assert {each.path for each in quantized.weights if "int8" in str(each.dtype)} == kernels | blocks


@pytest.fixture(scope="module")
def model():
    """A model in which every layer matters, the same compiled for the shape of TOKENS, and its logits of them."""
    # The seeds of a test are fixed after this.
    random.seed(0)
    model = strong(LanguageModel(CONFIG))
    forward = compiled(model)
    return model, forward, as_array(forward(TOKENS))


class Batch(keras.utils.PyDataset):
    """A data set of one batch."""

    def __init__(self, x):
        super().__init__()
        self.x = x

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return self.x, TARGETS


def softmax(logits):
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def test_the_config_knows_its_size(model):
    model, *_ = model
    assert model.count_params() == CONFIG.parameter_count()
    leaves = keras.tree.flatten(model.initial_state(1).blocks)
    floats = [leaf for leaf in leaves if "float" in keras.backend.standardize_dtype(leaf.dtype)]
    num_bytes = 4 * sum(int(np.prod(leaf.shape)) for leaf in floats)
    assert num_bytes == cache_bytes(CONFIG, 12, "float32") == cache_bytes(CONFIG, 999, "float32")


def test_packed_documents_are_isolated(model):
    """And equal to the document alone, at the start of a row."""
    model, forward, _ = model
    segments = np.array([[1] * 5 + [0] + [2] * 6, [3] * 3 + [4] * 8 + [0]])
    packed = model.packed()
    check_no_leak(packed, {"token_ids": TOKENS, "segment_ids": segments}, gradients=False, tolerance=1e-4)
    outputs = packed.predict_on_batch({"token_ids": TOKENS, "segment_ids": segments})
    alone = np.stack([np.roll(TOKENS[0], -6), np.roll(TOKENS[1], -3)])
    expected = as_array(forward(alone))
    # As many layers as there are mixers round one after the other.
    assert_close(outputs[0, 6:], expected[0, :6], factor=10)
    assert_close(outputs[1, 3:11], expected[1, :8], factor=10)


def test_decoded_scored_and_saved(model, tmp_path):
    """Prefill, a state through a file, and one step at a time say what the whole text says."""
    model, forward, logits = model
    state = model.prefill(TOKENS[:, :7])
    save_state(state, tmp_path / "state.safetensors")
    # PyTorch records a step after some thirty; elsewhere this is the length for which the model is compiled.
    steps = 40 if keras.backend.backend() == "torch" else 5
    rows = model.generate(np.zeros((2, 0), "int32"), steps, state=load_state(tmp_path / "state.safetensors"))
    whole = np.concatenate([TOKENS[:, :7], rows], axis=1)
    np.testing.assert_array_equal(rows, as_array(forward(whole))[:, 6:-1].argmax(-1))
    scores = model.score(TOKENS)
    log_probabilities = np.log(np.take_along_axis(softmax(logits[:, :-1]), TOKENS[:, 1:, None], axis=-1))[..., 0]
    np.testing.assert_allclose([score[-11:] for score in scores], log_probabilities, atol=1e-4)


@pytest.mark.any_backend
@pytest.mark.trainable
def test_carried_and_rematerialised_training_is_the_same_training(model):
    """One step of plain gradient descent on whole rows, and on a chunk with a state and blocks computed twice."""
    model, *_ = model
    before = model.get_weights()

    def trained(other, x):
        # TensorFlow takes half a minute to trace what it runs once.
        run_eagerly = keras.backend.backend() == "tensorflow"
        other.compile(keras.optimizers.SGD(0.01), loss=model.loss, run_eagerly=run_eagerly)
        other.fit(Batch(x), verbose=0, shuffle=False)
        weights = model.get_weights()
        model.set_weights(before)
        return weights

    plain = trained(model, TOKENS)
    moved = zip(model.weights, plain, before, strict=True)
    assert not [weight.path for weight, new, old in moved if not np.abs(new - old).max() > 0]
    model.rematerialize = True
    chunk = {"token_ids": TOKENS, "segment_ids": np.ones_like(TOKENS), "chunk": np.zeros(2, "int32")}
    carried = trained(model.carried(2), chunk)
    model.rematerialize = False
    for one, other in zip(plain, carried, strict=True):
        assert_close(np.float32(other), one)


@pytest.mark.trainable
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="elsewhere the step above is as users run it")
def test_a_traced_step_is_the_eager_one():
    """Of the mixers whose scans are not Griffin's."""
    names = ("mamba", "rwkv4", "aft", "gated_linear_attention")
    model = strong(LanguageModel(CONFIG.replace(num_layers=4, block_pattern=names)))
    before, ends = model.get_weights(), []
    for run_eagerly in (True, False):
        model.compile(keras.optimizers.SGD(0.01), loss=model.loss, run_eagerly=run_eagerly)
        model.fit(Batch(TOKENS), verbose=0)
        ends.append(model.get_weights())
        model.set_weights(before)
    for eager, traced in zip(*ends, strict=True):
        assert_close(np.float32(traced), eager)


@pytest.mark.any_backend
# What Keras says of its quantised product on NumPy.
@pytest.mark.filterwarnings("ignore:.*`custom_gradient` for the numpy:UserWarning")
# Rounding grows from layer to layer: of nine models it is 0.05 to 0.17, in int8 0.08 to 0.30; sqrt(2) if independent.
@pytest.mark.parametrize(("dtype", "bound"), [("mixed_bfloat16", 0.3), ("int8", 0.5)])
def test_few_bits(model, dtype, bound):
    """Half precision with adapters of every mixer, and quantised."""
    whole, _, logits = model
    other = LanguageModel(CONFIG, dtype="float32" if dtype == "int8" else dtype)
    other.set_weights(whole.get_weights())
    if dtype == "int8":
        other.quantize("int8")
    else:
        other.enable_lora(2)
        paths = {path.split("/")[0] for path in other.lora.variables if "/mixer/" in path}
        assert paths == {f"block_{index}" for index in range(len(NAMES))}
    # Where one is NaN, this is not true.
    assert np.abs(as_array(compiled(other)(TOKENS)) - logits).mean() < bound * np.abs(logits).mean()


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="Keras distributes on JAX only")
def test_laid_out_on_a_mesh():
    from keras_griffin.distribution import layout_map

    mesh = keras.distribution.DeviceMesh((1, 1), ["batch", "model"], keras.distribution.list_devices()[:1])
    layouts = layout_map(CONFIG, mesh)
    model = LanguageModel(CONFIG)
    assert not [weight.path for weight in model.weights if layouts[weight.path] is None]
