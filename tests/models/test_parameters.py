import gc

import keras
import numpy as np
import pytest

from keras_griffin.models import Griffin, GriffinConfig
from keras_griffin.models.parameters import check_parameters, without_garbage_collection

CONFIG = GriffinConfig(vocabulary_size=16, width=8, num_layers=1, num_heads=2, window=4, num_gate_blocks=2)
TOKENS = np.arange(8).reshape(1, 8)
ROWS = {"token_ids": TOKENS, "segment_ids": np.ones_like(TOKENS)}
SENTENCE = (
    "{name}: a model's parameters must be its variables' values; "
    "keras_griffin.distribution.fully_shard divides both, and DistributedDataParallel keeps them. "
    "Got a DTensor, as created by torch.distributed.fsdp.fully_shard."
)


@pytest.mark.any_backend
def test_deleted_variables_cost_no_search_for_garbage(monkeypatch):
    gc.unfreeze()
    frozen = []
    monkeypatch.setattr(keras.Model, "quantize", lambda *_, **__: frozen.append(gc.get_freeze_count()))
    Griffin(CONFIG).quantize("int8")
    assert frozen[0] > 0 and gc.get_freeze_count() == 0
    with pytest.raises(KeyError), without_garbage_collection():
        raise KeyError
    assert gc.get_freeze_count() == 0


@pytest.fixture
def group(tmp_path):
    """A process group of this process alone."""
    import torch

    torch.distributed.init_process_group("gloo", f"file://{tmp_path / 'group'}", rank=0, world_size=1)
    yield torch
    torch.distributed.destroy_process_group()


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="PyTorch's fully_shard")
def test_a_model_that_is_divided_behind_kerass_back_is_refused_before_its_first_step(group):
    fully_shard = group.distributed.fsdp.fully_shard
    made = Griffin(CONFIG)
    check_parameters(made)
    fully_shard(made)
    chunk = {**ROWS, "chunk": np.zeros(1, "int32")}
    for act, name in [
        (lambda: made.fit(TOKENS, TOKENS, verbose=0), "FSDPGriffin"),
        # A loop of the user's own.
        (lambda: made(TOKENS), "FSDPGriffin"),
        (lambda: made.packed().fit(ROWS, TOKENS, verbose=0), "PackedModel"),
        (lambda: made.packed(logits=False).fit(ROWS, TOKENS, verbose=0), "PackedWithoutLogits"),
        (lambda: made.carried(1).train_on_batch(chunk, TOKENS), "CarriedModel"),
    ]:
        with pytest.raises(ValueError) as error:
            act()
        assert str(error.value) == SENTENCE.format(name=name)
    # A part of a model, and the rows of packed documents.
    part, packed = Griffin(CONFIG), Griffin(CONFIG).packed()
    fully_shard(part.blocks[0])
    fully_shard(packed)
    for model, tokens in ((part, TOKENS), (packed, ROWS)):
        with pytest.raises(ValueError, match="Got a DTensor, as created by torch.distributed.fsdp.fully_shard.$"):
            model(tokens)
