"""A model whose weights are divided over processes of PyTorch trains as it does in one, and says what it can't do."""

import keras
import numpy as np
import pytest

from keras_griffin.distribution import fully_shard, gathered
from keras_griffin.models import Griffin, GriffinConfig
from tests.distribution.processes import answers_of

CONFIG = GriffinConfig(vocabulary_size=16, width=8, num_layers=1, num_heads=2, window=4, num_gate_blocks=2)
TOKENS = np.arange(8).reshape(1, 8)
can_divide = False
if keras.backend.backend() == "torch":
    from torch.distributed.fsdp import FSDPModule

    can_divide = hasattr(FSDPModule, "reset_iter_state")
pytorch_alone = pytest.mark.skipif(not can_divide, reason="FSDP2 is PyTorch's, of 2.13 or newer")


@pytorch_alone
@pytest.mark.slow
def test_two_processes_train_and_keep_one_model(tmp_path):
    one, *two = answers_of("fully_sharded_processes", *((tmp_path, *place) for place in ((1, 0), (2, 0), (2, 1))))
    saved, first, second = (answers.pop("saved") for answers in (one, *two))
    assert len(one) == 13
    for name, expected in one.items():
        # In bfloat16 the gradient of each half is rounded by itself.
        tolerance = {"rtol": 1e-3} if name == "bfloat16" else {"rtol": 2e-7, "atol": 1e-6}
        for part in ("losses", "weights"):
            each = [answers[name][part] for answers in two]
            np.testing.assert_allclose(np.mean(each, axis=0), expected[part], **tolerance, err_msg=f"{name} {part}")
            # Each process knows the loss of its own rows, and all weights.
            assert (each[0] == each[1]) == (part == "weights")
        assert expected["losses"][-1] < expected["losses"][0]
    assert one["after a fault forward"] == one["after a fault backward"] == one["fit"]
    for answers in (saved, first):
        for moment in ("early", "late"):
            assert answers[moment] == answers[f"{moment}, loaded"] == saved[moment]
            assert answers[f"{moment}, slots"] == pytest.approx(saved[f"{moment}, slots"], rel=1e-6)
        assert answers["early"] != answers["late"]
    assert saved["early, slots"] > 1
    for answers in two:
        assert answers["other weights"].startswith("fully_shard: the processes must begin with the same weights, by ")
        assert answers["other weights"].endswith("Got different ones in process 1.")
    for answers in (saved, first, second):
        assert answers["read"] and answers["assigned"] == [True, True]
        assert answers["early, freed"] and answers["late, freed"]


@pytest.fixture
def group(tmp_path):
    """A process group of this process alone."""
    import torch

    torch.distributed.init_process_group("gloo", f"file://{tmp_path / 'group'}", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def refusal(act):
    with pytest.raises(ValueError) as error:
        act()
    return str(error.value)


@pytorch_alone
def test_what_a_divided_model_refuses(group):
    model = Griffin(CONFIG)
    fully_shard(model)
    whole = "{name}: the weights must be whole. Got weights sharded by fully_shard: call it within "
    whole += "keras_griffin.distribution.gathered(model), in every process."
    state = model.initial_state(1)
    assert refusal(lambda: model.advance(TOKENS, state)) == whole.format(name="advance")
    assert refusal(lambda: model.generate([[1]], 4)) == whole.format(name="advance")
    assert refusal(lambda: model.score([[1, 2]])) == whole.format(name="advance")
    assert refusal(lambda: model.logits(state.last[:, None])) == whole.format(name="logits")
    assert (
        refusal(lambda: fully_shard(model))
        == "fully_shard: a model can be sharded only once. Got one that is sharded already."
    )
    assert refusal(lambda: model.quantize("int8")).startswith("quantize: the weights must not be divided.")
    sentence = (
        "{name}: gradients are not shared within gathered(model): train outside of it, and inside call the model "
    )
    sentence += "within torch.no_grad(). Got a call that records gradients."
    packed = model.packed(logits=False)
    rows = {"token_ids": TOKENS, "segment_ids": np.ones_like(TOKENS)}
    with gathered(model):
        assert refusal(lambda: model.fit(TOKENS, TOKENS, verbose=0)) == sentence.format(name="Griffin")
        assert refusal(lambda: packed.train_on_batch(rows, TOKENS)) == sentence.format(name="PackedWithoutLogits")
        expected = model.predict(TOKENS, verbose=0)
    np.testing.assert_array_equal(model.predict(TOKENS, verbose=0), expected)
    model.token_embedding.enable_lora(2)
    message = refusal(lambda: model.fit(TOKENS, TOKENS, verbose=0))
    assert message.startswith("Griffin: every trainable weight must be sharded by fully_shard, or each process would ")
    assert message.endswith("Got unsharded token_embedding/lora_embeddings_a, token_embedding/lora_embeddings_b.")


def test_what_can_not_be_divided():
    backend = keras.backend.backend()
    message = refusal(lambda: fully_shard(Griffin(CONFIG)))
    if backend == "torch":
        assert message == "fully_shard: torch.distributed.init_process_group must have been called. Got no group."
        assert refusal(lambda: fully_shard(keras.layers.Dense(2))).startswith("fully_shard: the model must be a Langua")
    else:
        assert message.startswith("fully_shard: the backend must be torch; on JAX use ")
        assert message.endswith(f"layout_map. Got {backend}.")
    for model in (Griffin(CONFIG), keras.layers.Dense(2)):
        assert refusal(lambda model=model: gathered(model)).startswith(
            "gathered: the model must be sharded by fully_sh"
        )
