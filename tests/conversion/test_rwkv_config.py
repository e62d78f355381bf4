import pytest

from keras_griffin.conversion.rwkv import infer_rwkv_config, read_rwkv_config, write_rwkv_config
from keras_griffin.models.presets import presets, rwkv4_config
from tests.conversion.checkpoints import stored

pytestmark = pytest.mark.any_backend

CONFIG = rwkv4_config(260, 8, 2, expand=3)


def test_there_and_back():
    for config in (CONFIG, presets()["rwkv4_169m"]):
        assert read_rwkv_config(write_rwkv_config(config, "float32")) == config


def test_shapes_tell_the_sizes():
    shapes = {"emb.weight": (260, 8), "blocks.0.ffn.key.weight": (24, 8), "blocks.1.att.time_decay": (8,)}
    tensors = stored({**shapes, "blocks.0.att.time_decay": (8,)})
    assert infer_rwkv_config(tensors) == CONFIG
    with pytest.raises(ValueError, match=r"^load_rwkv: .* must have emb\.weight with 2 axes\. Got None\.$"):
        infer_rwkv_config({})
    with pytest.raises(ValueError, match=r"key\.weight must have a multiple of 8 rows\. Got 20\.$"):
        infer_rwkv_config({**tensors, **stored({"blocks.0.ffn.key.weight": (20, 8)})})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "mamba"}, r"model_type must be 'rwkv'\. Got 'mamba'"),
        ({"hidden_size": "8"}, r"hidden_size must be an integer of at least 1\. Got '8'"),
        ({"attention_hidden_size": 16}, r"attention_hidden_size must be hidden_size, 8\. Got 16"),
        ({"intermediate_size": 20}, r"intermediate_size must be a multiple of hidden_size, 8\. Got 20"),
        ({"layer_norm_epsilon": 1e-6}, r"layer_norm_epsilon must be 1e-05\. Got 1e-06"),
        ({"tie_word_embeddings": True}, r"tie_word_embeddings must be false\. Got True"),
    ],
)
def test_a_config_that_is_refused(changes, message):
    with pytest.raises(ValueError, match=rf"^load_rwkv: in config\.json, {message}\.$"):
        read_rwkv_config({**write_rwkv_config(CONFIG, "float32"), **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_layers": 3}, "the layers must be rwkv4 and rwkv4_channel in turn"),
        ({"norm": "rms"}, "norm must be layer"),
        ({"mlp_width": 4}, "mlp_width must be 0"),
        ({"scale_embeddings": True}, "scale_embeddings must be False"),
        ({"logits_soft_cap": 3.0}, "logits_soft_cap must be None"),
        ({"embedding_norm": False}, "embedding_norm must be True"),
        ({"tie_embeddings": True}, "tie_embeddings must be False"),
        ({"norm_epsilon": 1e-6}, "norm_epsilon must be 1e-05"),
    ],
)
def test_a_model_that_transformers_has_not(changes, message):
    with pytest.raises(ValueError, match=rf"^save_huggingface: {message} for transformers' RWKV\."):
        write_rwkv_config(CONFIG.replace(**changes), "float32")
